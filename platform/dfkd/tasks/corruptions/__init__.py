"""Common corruptions of images, in torch alone: one family a file, all of them in ``CORRUPTIONS``.

Each maps images [B, C, H, W] in [0, 1], a severity from 1 to 5 and a generator on their device to images like them.

Source: Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR
2019. Kinds and constants are those of their public code for CIFAR-10-C, whatever the size of the image. Deviation:
eleven of the fifteen (frost needs photographs, JPEG a codec; snow and glass blur are left out too), and batches of
tensors where theirs is an image library's arithmetic. Accuracies compare with each other, not with CIFAR-10-C.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dfkd.tasks.corruptions.blur import defocus_blur, motion_blur, zoom_blur
from dfkd.tasks.corruptions.digital import brightness, contrast, elastic, fog, pixelate
from dfkd.tasks.corruptions.noise import gaussian_noise, impulse_noise, shot_noise

Corruption = Callable[[Tensor, int, torch.Generator], Tensor]
SEVERITIES = (1, 2, 3, 4, 5)

CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "defocus_blur": defocus_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic": elastic,
    "pixelate": pixelate,
}

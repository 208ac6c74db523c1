"""Random brightness, contrast, saturation and hue."""

from __future__ import annotations

import math

import torch
from torch import Tensor

STRENGTH, HUE = 0.4, 0.1  # factors lie in 1 +- 0.4; hue turns by up to a tenth of the circle
GREY = (0.299, 0.587, 0.114)  # luma of red, green and blue (ITU-R BT.601)
YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def jitter_colours(images: Tensor, *, probability: float, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue of a share of the images, each in its own way.

    Args:
        images: [B, C, H, W] in [0, 1]; with one channel, saturation and hue do not exist.
        probability: of an image to be changed.
        generator: source of randomness, on the device of ``images``.

    Returns:
        [B, C, H, W] in [0, 1].

    Source: Howard, Some Improvements on Deep CNN Based Image Classification, 2013, with the strengths of Asano and
    Saeed, ICLR 2023. Deviations: always in this order; hue turns the plane of I and Q, which needs no HSV.
    """
    draws = torch.rand(5, len(images), 1, 1, 1, generator=generator, device=images.device)
    factors = 1 + STRENGTH * (2 * draws[:3] - 1)
    changed = (images * factors[0]).clamp(0, 1)
    grey = _grey(changed)
    changed = _blend(changed, grey.mean(dim=(2, 3), keepdim=True), factors[1])
    if images.shape[1] == 3:
        changed = _blend(changed, _grey(changed), factors[2])
        changed = _turn_hue(changed, 2 * math.pi * HUE * (2 * draws[3] - 1))
    return torch.where(draws[4] < probability, changed, images)


def _grey(images: Tensor) -> Tensor:
    """Return the luma [B, 1, H, W]."""
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    return (images * images.new_tensor(GREY).view(3, 1, 1)).sum(dim=1, keepdim=True)


def _blend(images: Tensor, other: Tensor, share: Tensor) -> Tensor:
    return (share * images + (1 - share) * other).clamp(0, 1)


def _turn_hue(images: Tensor, angle: Tensor) -> Tensor:
    """Turn the colours of images [B, 3, H, W] by an angle [B, 1, 1, 1] around the axis of greys."""
    to_yiq = images.new_tensor(YIQ)
    y, i, q = torch.einsum("ij,bjhw->bihw", to_yiq, images).split(1, dim=1)
    turned = torch.cat([y, i * angle.cos() - q * angle.sin(), i * angle.sin() + q * angle.cos()], dim=1)
    return torch.einsum("ij,bjhw->bihw", to_yiq.inverse(), turned).clamp(0, 1)

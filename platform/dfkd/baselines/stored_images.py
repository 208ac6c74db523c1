"""KD on a fixed set of images, whoever took them."""

from __future__ import annotations

import torch
from torch import Tensor

from dfkd.augmentation import augment
from dfkd.domain import Domain
from dfkd.settings.synthesis import StoredImagesSettings
from dfkd.synthesis.drawn import Drawn
from dfkd.synthesis.protocol import SyntheticBatch
from dfkd.teacher_student import TeacherStudent


class StoredImages(Drawn):
    """Images drawn uniformly, with replacement, as from an image bank; shifted, mirrored and, if wanted, mixed.

    Labels play no part: the student learns from the teacher's answers alone, as with every method.

    Args:
        settings: of the baseline.
        pair: teacher and student, on the training device.
        domain: what is known of the real data.
        generator: the source of all randomness, on the training device.
        images: uint8 [N, C, H, W]; kept on the training device.

    Raises:
        ValueError: if the images have not the teacher's shape.
    """

    augments = False  # ``sample`` does it, before it mixes

    def __init__(
        self,
        settings: StoredImagesSettings,
        pair: TeacherStudent,
        domain: Domain,
        generator: torch.Generator,
        images: Tensor,
    ) -> None:
        if tuple(images.shape[1:]) != domain.image_shape:
            raise ValueError(
                f"synthesis: expected images of shape {list(domain.image_shape)} (C, H, W), as the teacher takes them, "
                f"got {list(images.shape[1:])}."
            )
        self.settings, self.domain, self.random = settings, domain, generator
        self._images = images.to(pair.device)

    def sample(self, batch_size: int) -> SyntheticBatch:
        """Draw images [B, C, H, W] in [0, 1]."""
        rows = torch.randint(len(self._images), (batch_size,), generator=self.random, device=self._images.device)
        images = augment(
            self._images[rows].float().div_(255),
            crop_padding=self.domain.crop_padding,
            horizontal_flip=self.domain.horizontal_flip,
            generator=self.random,
        )
        if self.settings.cutmix:
            images = cutmix(images, alpha=self.settings.cutmix, generator=self.random)
        if self.settings.SHOWN:
            self.shown = images
        return SyntheticBatch(images=images)


def cutmix(images: Tensor, *, alpha: float, generator: torch.Generator) -> Tensor:
    """Paste a box of every image's partner into it: one box for the batch, partners in reversed order.

    The box has the share ``1 - lambda`` of the area with lambda ~ Beta(alpha, alpha), anywhere, cut at the border.

    Args:
        images: [B, C, H, W].
        alpha: above 0.
        generator: source of randomness, on the device of ``images``.

    Returns:
        [B, C, H, W].

    Source: Yun et al., CutMix, ICCV 2019, with one box a batch as in the public code of Asano and Saeed, ICLR 2023.
    Labels are not mixed: the teacher says what it sees in the mixture.
    """
    height, width = images.shape[2:]
    shape = torch.full((2,), alpha, device=images.device)
    gammas = torch._standard_gamma(shape, generator=generator)
    share = gammas[0] / gammas.sum().clamp_min(torch.finfo(gammas.dtype).tiny)  # lambda
    half = (1 - share).sqrt() / 2  # of the box's sides, as shares of the image's
    centre = torch.rand(2, generator=generator, device=images.device)
    y, x = ((torch.arange(size, device=images.device) + 0.5) / size for size in (height, width))
    inside = ((y - centre[0]).abs() < half).unsqueeze(1) & ((x - centre[1]).abs() < half)  # [H, W]
    return torch.where(inside, images.flip(0), images)

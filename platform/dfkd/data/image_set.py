"""``ImageSet``: real images with their labels, as they are stored. Where they come from is the loaders' business."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """One split of real images.

    Attributes:
        images: [N, C, H, W] uint8, 0 to 255.
        labels: [N] int64, class indices from 0.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.dim() != 4:
            raise ValueError(
                f"images: expected uint8 of shape [N, C, H, W], "
                f"got {self.images.dtype} of shape {list(self.images.shape)}."
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels: expected int64 of shape [{len(self.images)}], one label an image, "
                f"got {self.labels.dtype} of shape {list(self.labels.shape)}."
            )
        if len(self.images) == 0:
            raise ValueError("images: expected at least one image, got none.")
        if self.labels.min() < 0:
            raise ValueError(f"labels: expected class indices from 0, got {int(self.labels.min())}.")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def select(self, rows: Tensor) -> ImageSet:
        """Return the images and labels at ``rows`` [M] int64, in that order."""
        return ImageSet(self.images[rows], self.labels[rows])

"""``ImageSet``: real images, mostly with labels, as they are stored. Where they come from is the loaders' business."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

FINGERPRINT_LENGTH = 16  # hexadecimal digits


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """One split of real images.

    Attributes:
        images: [N, C, H, W] uint8, 0 to 255.
        labels: [N] int64, class indices from 0; None where nobody has labelled the images.
    """

    images: Tensor
    labels: Tensor | None

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.dim() != 4:
            raise ValueError(
                f"images: expected uint8 of shape [N, C, H, W], "
                f"got {self.images.dtype} of shape {list(self.images.shape)}."
            )
        if len(self.images) == 0:
            raise ValueError("images: expected at least one image, got none.")
        if self.labels is None:
            return
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels: expected int64 of shape [{len(self.images)}], one label an image, "
                f"got {self.labels.dtype} of shape {list(self.labels.shape)}."
            )
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
        return ImageSet(self.images[rows], None if self.labels is None else self.labels[rows])

    def require_labels(self) -> Tensor:
        """Return the labels [N].

        Raises:
            ValueError: if there are none.
        """
        if self.labels is None:
            raise ValueError("labels: these images have none, and they are needed here.")
        return self.labels

    def fingerprint(self) -> str:
        """Return a SHA-256 over shape, pixels and labels, shortened: equal for equal images, wherever they lie."""
        labels = () if self.labels is None else (self.labels,)
        digest = hashlib.sha256(repr([list(tensor.shape) for tensor in (self.images, *labels)]).encode())
        for tensor in (self.images, *labels):
            digest.update(tensor.contiguous().numpy())
        return digest.hexdigest()[:FINGERPRINT_LENGTH]

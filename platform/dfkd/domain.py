"""``Domain``: all that the method may know of the real data. Nothing else of it crosses into METHOD."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Domain:
    """What is known of the teacher's data without seeing any of it.

    Attributes:
        channels: C of an image.
        height: H of an image, in pixels.
        width: W of an image, in pixels.
        mean: per channel, of images in [0, 1]; the teacher's input normalisation.
        std: per channel, of images in [0, 1]; the teacher's input normalisation.
        class_names: K names, in the order of the teacher's logits.
        label_embeddings: [K, E] float32, one row a class, as its source gave it (not yet standardised).
        crop_padding: pixels by which a random crop may shift an image without changing its label.
        horizontal_flip: whether a mirrored image keeps its label.
    """

    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    label_embeddings: Tensor
    crop_padding: int = 0
    horizontal_flip: bool = False

    def __post_init__(self) -> None:
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(
                f"mean and std: expected {self.channels} values each (one a channel), "
                f"got {len(self.mean)} and {len(self.std)}."
            )
        if self.label_embeddings.dim() != 2 or len(self.label_embeddings) != self.num_classes:
            raise ValueError(
                f"label_embeddings: expected [K, E] with K = {self.num_classes} classes, "
                f"got {list(self.label_embeddings.shape)}."
            )

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width

    def normalise(self, images: Tensor) -> Tensor:
        """Map images [B, C, H, W] in [0, 1] to what teacher and student take."""
        return normalise(images, self.mean, self.std)


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Return ``(images - mean) / std``, channel by channel, for images [B, C, H, W] in [0, 1]."""
    shift, scale = (per_channel(values, images.device, images.dtype) for values in (mean, std))
    return (images - shift) / scale


@lru_cache(maxsize=16)
def per_channel(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return one value a channel as [C, 1, 1]; kept, because a copy to the device stops its pipeline in every step."""
    with torch.inference_mode(False):  # one made in inference mode could never stand in a graph
        return torch.tensor(values, device=device, dtype=dtype).view(-1, 1, 1)

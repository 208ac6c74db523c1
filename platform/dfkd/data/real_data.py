"""``RealData``: a real data set with its splits, for making a teacher and for reports. No student is trained on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from dfkd.data.image_set import ImageSet
from dfkd.settings.experiment import numbered_classes


@dataclass(frozen=True, slots=True, eq=False)
class RealData:
    """Real images of K classes in up to three disjoint splits, or what is known of them without any.

    Attributes:
        title: how tables call it.
        class_names: K names, in the order of the labels.
        train: what a teacher is trained on; None if only an exam is at hand.
        validation: what settings are compared on; may be missing, and alone may be without labels.
        test: what the winner is judged by, once; may be missing.
        shape_without_images: (C, H, W) where there is no split at all.
    """

    title: str
    class_names: tuple[str, ...]
    train: ImageSet | None
    validation: ImageSet | None
    test: ImageSet | None
    shape_without_images: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        splits = self.splits
        if not splits and self.shape_without_images is None:
            raise ValueError(f"{self.title}: expected at least one of train, validation and test, got none.")
        shapes = {name: images.image_shape for name, images in splits.items()}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"{self.title}: expected one image shape (C, H, W) in all splits, got {shapes}.")
        for name, images in splits.items():
            if images.labels is None and name == "validation":
                continue
            if images.labels is None:
                raise ValueError(f"{self.title}: expected labels for the {name} images, got none.")
            largest = int(images.labels.max())
            if largest >= self.num_classes:
                raise ValueError(
                    f"{self.title}: image {int(images.labels.argmax())} of {name} has label {largest}, but there are "
                    f"{self.num_classes} class names: {_shorten(self.class_names)}."
                )

    @property
    def splits(self) -> dict[str, ImageSet]:
        """The splits that exist, by name."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: images for name, images in named.items() if images is not None}

    def without_class_names(self) -> RealData:
        """Return the same data with numbers in place of class names."""
        return replace(self, class_names=numbered_classes(self.num_classes))

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        if self.shape_without_images is not None:
            return self.shape_without_images
        return next(iter(self.splits.values())).image_shape

    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation, per channel, of the training images in [0, 1].

        A channel that is constant gets the standard deviation of one grey level, so that it can be divided by.

        Raises:
            ValueError: if there are no training images.
        """
        if self.train is None:
            raise ValueError(
                f"{self.title}: the normalisation is measured on training images, and there are none. "
                "Give teacher.mean and teacher.std instead."
            )
        channels = self.train.images.transpose(0, 1).flatten(1)  # [C, N * H * W]
        counts = torch.stack([torch.bincount(channel, minlength=256) for channel in channels]).double()  # [C, 256]
        shares = counts / counts.sum(dim=1, keepdim=True)
        values = torch.arange(256, dtype=torch.float64) / 255
        mean = (shares * values).sum(dim=1, keepdim=True)  # [C, 1]
        variance = (shares * (values - mean).square()).sum(dim=1)  # [C]
        std = variance.sqrt().clamp_min(1 / 255)
        return tuple(mean.flatten().tolist()), tuple(std.tolist())


def _shorten(names: tuple[str, ...], limit: int = 10) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more

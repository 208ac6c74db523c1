"""Some classes of a data set: settings are tuned on one part of them, and results reported on another."""

from __future__ import annotations

from dataclasses import replace

from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData


def keep_classes(data: RealData, first: int, last: int) -> RealData:
    """Return the images of classes ``first`` to ``last``, both included, relabelled from 0.

    Raises:
        ValueError: if there are no such classes, or a split has no image of them, or no labels.
    """
    if last >= data.num_classes:
        raise ValueError(f"classes: {data.title} has classes 0 to {data.num_classes - 1}, got [{first}, {last}].")
    splits = {name: _keep(images, first, last, f"{data.title}, {name}") for name, images in data.splits.items()}
    return replace(
        data,
        title=f"{data.title}, classes {first} to {last}",
        class_names=data.class_names[first : last + 1],
        train=splits.get("train"),
        validation=splits.get("validation"),
        test=splits.get("test"),
    )


def _keep(images: ImageSet, first: int, last: int, where: str) -> ImageSet:
    labels = images.require_labels()
    rows = ((labels >= first) & (labels <= last)).nonzero().flatten()
    if not len(rows):
        raise ValueError(f"classes: {where} has no image of the classes {first} to {last}.")
    return ImageSet(images.images[rows], labels[rows] - first)

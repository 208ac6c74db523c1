"""What the formats of annotated images share: folders and lists that must be there, and masks in image files."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dfkd.settings.tasks.dense import AnnotatedImagesSettings

_CLASS_MODES = ("1", "L", "P")


def dataset_folder(settings: AnnotatedImagesSettings) -> Path:
    """Return the path of the settings, with ``~`` resolved."""
    assert settings.path is not None, "AnnotatedImagesSettings checks it"
    return Path(settings.path).expanduser()


def choose_split(settings: AnnotatedImagesSettings, split: str, splits: Mapping[str, str]) -> str:
    """Return the format's own name of a split; raise ValueError that lists those it has."""
    if split not in splits:
        raise ValueError(f"--split: '{settings.name}' has no {split} images; it has {', '.join(splits)}.")
    return splits[split]


def require(path: Path, settings: AnnotatedImagesSettings) -> Path:
    """Return a path that must exist; raise ValueError that says which layout was expected."""
    if not path.exists():
        raise ValueError(
            f"dataset.path: '{settings.name}' expected {path}, which does not exist. Its layout stands in "
            "docs/transfer.md."
        )
    return path


def open_image(path: Path) -> Image.Image:
    """Open an image file without keeping it open."""
    return Image.open(io.BytesIO(path.read_bytes()))


def read_class_mask(image: Image.Image) -> NDArray[Any]:
    """Return the values [H, W] of an image whose pixels are class numbers, not colours.

    Raises:
        ValueError: if it has colours.
    """
    if image.mode not in _CLASS_MODES:
        raise ValueError(f"expected a mask with one class number a pixel (mode L or P), got mode {image.mode}.")
    return np.asarray(image)

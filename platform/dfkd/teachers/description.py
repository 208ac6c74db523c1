"""What a teacher expects and knows: from the metadata of its weights, from the settings (which win), from the data."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dfkd.settings.experiment import TeacherSettings
from dfkd.teachers.teacher import check_classes


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What a state dict does not say of its network; attributes as in ``Teacher``."""

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def describe(
    settings: TeacherSettings,
    metadata: Mapping[str, str],
    *,
    image_shape: tuple[int, int, int],
    class_names: tuple[str, ...],
    source: str,
) -> Description:
    """Put together what is known, and check it against the data.

    Args:
        settings: win over the metadata.
        metadata: of the weights; may be empty.
        image_shape: (C, H, W) of the data.
        class_names: K names of the data.
        source: where the weights came from, for messages.

    Raises:
        ValueError: if the normalisation is nowhere to be found, or channels or classes are not those of the data.
    """
    known = settings.class_names or _read_list(metadata, "class_names", source)
    if known is None:
        warnings.warn(
            f"teacher.weights: {source} does not name its classes; they are taken to be the data's, in their order. "
            "Give teacher.class_names to have that checked.",
            stacklevel=3,
        )
        known = class_names
    known = tuple(str(name) for name in known)
    check_classes(known, class_names)
    _check_images(metadata, image_shape, source)
    return Description(
        class_names=known,
        image_shape=image_shape,
        mean=settings.mean or _read_normalisation(metadata, "mean", source),
        std=settings.std or _read_normalisation(metadata, "std", source),
    )


def _read(metadata: Mapping[str, str], key: str, source: str) -> Any:
    """Return the value of a key, which is JSON, or None where there is none."""
    if key not in metadata:
        return None
    try:
        return json.loads(metadata[key])
    except ValueError as error:
        raise ValueError(f"teacher.weights: {source}: expected JSON under '{key}', got {metadata[key]!r}.") from error


def _read_list(metadata: Mapping[str, str], key: str, source: str) -> list[Any] | None:
    """Return the list under a key, or None where there is none."""
    value = _read(metadata, key, source)
    if value is not None and not isinstance(value, list):
        raise ValueError(f"teacher.weights: {source}: expected a list under '{key}', got {metadata[key]!r}.")
    return value


def _read_normalisation(metadata: Mapping[str, str], name: str, source: str) -> tuple[float, ...]:
    values = _read_list(metadata, f"input_{name}", source)
    if values is None:
        raise ValueError(
            f"teacher.{name}: {source} does not say how its images were normalised. Give teacher.mean and teacher.std, "
            "a list with one value a channel, for images in [0, 1] (0 and 1 if the network normalises by itself)."
        )
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise ValueError(f"teacher.weights: {source}: expected numbers under 'input_{name}', got {values}.")
    return tuple(float(value) for value in values)


def _check_images(metadata: Mapping[str, str], image_shape: tuple[int, int, int], source: str) -> None:
    channels, *size = image_shape
    trained_channels = _read(metadata, "channels", source)
    if trained_channels not in (None, channels):
        raise ValueError(
            f"teacher.weights: {source} takes images of {trained_channels} channels, the data have {channels}. "
            f"Set dataset.channels to {trained_channels}."
        )
    trained_size = _read(metadata, "input_size", source)
    if trained_size not in (None, size, size[0] if size[0] == size[1] else None):
        warnings.warn(
            f"teacher.weights: {source} was trained on images of size {trained_size}, the data are "
            f"{size[0]}x{size[1]}: expect a worse teacher, or set dataset.image_size.",
            stacklevel=4,
        )

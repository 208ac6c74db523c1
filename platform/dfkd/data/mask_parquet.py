"""Parquet files with the columns ``image`` and ``mask``, both ``struct<bytes, path>``, as on the Hugging Face hub.

The schema's metadata say ``class_names`` (a JSON list) and, if some value is of no class, ``ignore_index``.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dfkd.data.annotated import IGNORED, AnnotatedSource, MaskedImages, decode_masks
from dfkd.data.annotation_files import choose_split, dataset_folder, read_class_mask, require
from dfkd.settings.tasks.dense import AnnotatedImagesSettings

SPLITS = {"train": "train", "validation": "val", "test": "test"}


def load_parquet_masks(settings: AnnotatedImagesSettings, split: str) -> MaskedImages:
    """Return images and masks of all files ``<split>*.parquet`` in the folder, in the order of their names."""
    prefix = choose_split(settings, split, SPLITS)
    folder = require(dataset_folder(settings), settings)
    files = sorted(folder.glob(f"{prefix}*.parquet"))
    if not files:
        raise ValueError(f"dataset.path: expected files {prefix}*.parquet in {folder.absolute()}, found none.")
    rows, described = [], {}
    for file in files:
        table = _read_table(file)
        described[file] = _describe(file, table.schema.metadata or {})
        images, masks = table["image"].to_pylist(), table["mask"].to_pylist()
        rows += [(f"{file}, row {row}", image, mask) for row, (image, mask) in enumerate(zip(images, masks))]  # noqa: B905
    first = next(iter(described.values()))
    for file, other in described.items():
        if other != first:
            raise ValueError(f"{file}: expected class names and ignore_index of {files[0]} ({first}), got {other}.")
    class_names, ignored = first

    def read(index: int) -> NDArray[Any]:
        stored = read_class_mask(_open(rows[index][2]))
        return stored if ignored is None else np.where(stored == ignored, IGNORED, stored)

    source = AnnotatedSource(
        num_images=len(rows),
        open_image=lambda index: _open(rows[index][1]),
        read_target=read,
        describe_target=lambda index: f"{rows[index][0]}, mask",
        describe_image=lambda index: rows[index][0],
    )
    return decode_masks(source, settings, class_names)


def _read_table(file: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(file)
        missing = {"image", "mask"} - set(table.column_names)
        if missing:
            raise ValueError(f"expected the columns image and mask, got {', '.join(table.column_names)}")
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise ValueError(f"{file}: this Parquet file cannot be used: {error}.") from error
    if not table.num_rows:
        raise ValueError(f"{file}: expected rows, found none.")
    return table


def _describe(file: Path, metadata: dict[bytes, bytes]) -> tuple[tuple[str, ...], int | None]:
    """Return class names and the value that is ignored."""
    try:
        names = tuple(str(name) for name in json.loads(metadata[b"class_names"]))
        return names, int(metadata[b"ignore_index"]) if b"ignore_index" in metadata else None
    except KeyError:
        raise ValueError(
            f"{file}: expected the schema metadata to name the classes, 'class_names': a JSON list."
        ) from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file}: the schema metadata do not describe the classes: {error}.") from error


def _open(cell: Any) -> Image.Image:
    content = cell.get("bytes") if isinstance(cell, dict) else None
    if content is None:
        raise ValueError("the row has no bytes here; files outside of the Parquet file are not followed.")
    return Image.open(io.BytesIO(content))

"""Parquet files in the image convention of the Hugging Face hub.

A column ``image: struct<bytes, path>``, a column ``label`` of integers, and the class names in the schema's metadata;
the settings say what the two are called where a file calls them otherwise. Validation images may be without labels: no
such column, or null or a negative number in every row.
"""

from __future__ import annotations

import io
import json
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image

from dfkd.data.decode import ExampleSource, decode_splits
from dfkd.data.missing import data_folder, missing_data
from dfkd.data.real_data import RealData
from dfkd.settings.experiment import DatasetSettings

_SPLIT_PREFIXES = {"train": "train", "validation": "val", "test": "test"}


def load_parquet(settings: DatasetSettings) -> RealData:
    """Return the splits that lie in the folder as ``train*.parquet``, ``val*.parquet`` and ``test*.parquet``.

    Raises:
        ValueError: if there is none of them, one cannot be read, lacks a column or names its classes differently.
    """
    folder = data_folder(settings)
    shards = {split: sorted(folder.glob(f"{prefix}*.parquet")) for split, prefix in _SPLIT_PREFIXES.items()}
    shards = {split: paths for split, paths in shards.items() if paths}
    if not shards:
        raise missing_data(settings, "files train*.parquet, val*.parquet or test*.parquet")
    tables = {
        split: {path: _read_table(path, settings, labels_needed=split != "validation") for path in paths}
        for split, paths in shards.items()
    }
    return decode_splits(
        settings,
        {split: _source(shards, labelled=_is_labelled(split, shards)) for split, shards in tables.items()},
        class_names=_class_names(
            {path: table for shards in tables.values() for path, table in shards.items()}, settings.label_column
        ),
        title=folder.absolute().name,
    )


def _read_table(path: Path, settings: DatasetSettings, *, labels_needed: bool) -> Any:
    """Return a file's checked columns as a pyarrow table of ``image`` and, if they are there, ``label``."""
    import pyarrow
    import pyarrow.parquet

    names = {settings.image_column: "image", settings.label_column: "label"}
    try:
        file = pyarrow.parquet.ParquetFile(path)
        columns = file.schema_arrow.names
        wanted = set(names) if labels_needed else {settings.image_column}
        if not wanted <= set(columns):
            raise ValueError(
                f"expected the columns {' and '.join(names)}, got {', '.join(columns)}; dataset.image_column and "
                "dataset.label_column say what they are called"
            )
        table = file.read(columns=[name for name in names if name in columns])
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise ValueError(f"{path}: this Parquet file cannot be used: {error}.") from error
    _check_types(path, settings, table)
    renamed = table.rename_columns([names[name] for name in table.column_names])
    return renamed.replace_schema_metadata(table.schema.metadata)  # renaming loses them, and the class names with them


def _check_types(path: Path, settings: DatasetSettings, table: Any) -> None:
    import pyarrow

    image_type = table.schema.field(settings.image_column).type
    if not pyarrow.types.is_struct(image_type) or image_type.get_field_index("bytes") < 0:
        raise ValueError(
            f"{path}: expected the column {settings.image_column} to be struct<bytes, path>, got {image_type}."
        )
    if settings.label_column in table.column_names:
        label_type = table.schema.field(settings.label_column).type
        if not (pyarrow.types.is_integer(label_type) or pyarrow.types.is_null(label_type)):
            raise ValueError(f"{path}: expected the column {settings.label_column} to hold integers, got {label_type}.")


def _is_labelled(split: str, tables: dict[Path, Any]) -> bool:
    """Return whether a split has labels; raise ValueError if some are missing, or all and it is not for validation."""
    labels = {path: _labels(table) for path, table in tables.items()}
    if split == "validation" and not any(map(_is_label, chain.from_iterable(labels.values()))):
        return False
    for path, found in labels.items():
        for row, label in enumerate(found):
            if not _is_label(label):
                raise ValueError(
                    f"{path}, row {row}: expected a class index from 0, got {label}. Remove unlabelled rows; only "
                    "validation images may be without labels, and then all of them."
                )
    return True


def _labels(table: Any) -> list[int | None]:
    return table["label"].to_pylist() if "label" in table.column_names else [None] * table.num_rows


def _is_label(label: int | None) -> bool:
    return label is not None and label >= 0  # the hub writes -1 where a label is not known


def _source(tables: dict[Path, Any], *, labelled: bool) -> ExampleSource:
    """Return the rows of several files, one after the other."""
    import pyarrow.compute

    contents: list[bytes | None] = []
    labels: list[int | None] = []
    for table in tables.values():
        contents += pyarrow.compute.struct_field(table["image"], "bytes").to_pylist()
        labels += _labels(table)

    def read(index: int) -> tuple[Image.Image, int]:
        content = contents[index]
        if content is None:
            raise ValueError("the row has no image bytes; images outside the file are not followed")
        return Image.open(io.BytesIO(content)), labels[index] or 0

    def describe(index: int) -> str:
        for path, table in tables.items():
            if index < table.num_rows:
                return f"{path}, row {index}"
            index -= table.num_rows
        raise AssertionError("an index beyond the last row")

    return ExampleSource(len(labels), read, describe, labelled)


def _class_names(tables: dict[Path, Any], label_column: str) -> tuple[str, ...] | None:
    """Return the class names of the files' metadata, which must agree; None if no file names them."""
    found = {path: _names_in_metadata(path, table, label_column) for path, table in tables.items()}
    named = {path: names for path, names in found.items() if names is not None}
    if not named:
        return None
    first, names = next(iter(named.items()))
    for path, other in named.items():
        if other != names:
            raise ValueError(f"{path}: expected the class names of {first} ({names}), got {other}.")
    return names


def _names_in_metadata(path: Path, table: Any, label_column: str) -> tuple[str, ...] | None:
    encoded = (table.schema.metadata or {}).get(b"huggingface")
    if encoded is None or "label" not in table.column_names:
        return None
    try:
        label = json.loads(encoded)["info"]["features"][label_column]
        return tuple(str(name) for name in label["names"]) if "names" in label else None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: the schema metadata 'huggingface' does not describe the labels: {error!r}."
        ) from error

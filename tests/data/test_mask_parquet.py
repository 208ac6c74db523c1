import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from dfkd.data.mask_parquet import load_parquet_masks
from dfkd.settings.tasks.dense import AnnotatedImagesSettings

CELL = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})


def encoded(values: Any) -> bytes:
    stored = io.BytesIO()
    Image.fromarray(np.asarray(values, dtype=np.uint8)).save(stored, "PNG")
    return stored.getvalue()


@pytest.fixture
def write(tmp_path: Path, png: Callable[..., bytes]) -> Callable[..., AnnotatedImagesSettings]:
    """Write one file of 12x8 images with these masks, given as the bytes of PNG files."""

    def write_file(name: str, masks: list[bytes | None], **metadata: str) -> AnnotatedImagesSettings:
        cells = [None if content is None else {"bytes": content, "path": None} for content in masks]
        images = [{"bytes": png(seed, size=(12, 8)), "path": None} for seed in range(len(masks))]
        table = pyarrow.table({"image": pyarrow.array(images, CELL), "mask": pyarrow.array(cells, CELL)})
        described = {"class_names": json.dumps(["road", "sky"]), "ignore_index": "11"} | metadata
        kept = {key: value for key, value in described.items() if value}
        pyarrow.parquet.write_table(table.replace_schema_metadata(kept), tmp_path / name)
        return AnnotatedImagesSettings(name="parquet", path=str(tmp_path))

    return write_file


def mask(value: int) -> bytes:
    values = np.full((8, 12), value)
    values[0] = 11
    return encoded(values)


def test_files_of_a_split_are_joined_and_the_ignored_value_becomes_255(write: Any) -> None:
    write("train-00001.parquet", [mask(1)])
    settings = write("train-00000.parquet", [mask(0), mask(1)])
    found = load_parquet_masks(settings, "train")
    assert found.class_names == ("road", "sky")
    assert found.masks[:, 1, 0].tolist() == [0, 1, 1]
    assert found.masks[:, 0].unique().tolist() == [255]
    assert found.images.shape == (3, 3, 8, 12)


def test_without_an_ignored_value_every_value_must_be_a_class(write: Any) -> None:
    settings = write("val.parquet", [mask(1)], ignore_index="")
    with pytest.raises(ValueError, match=r"val.parquet, row 0, mask: the mask has the value 11, and there are 2"):
        load_parquet_masks(settings, "validation")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "row 1, mask: the row has no bytes here"),
        (b"no image", "row 1, mask: cannot identify image file"),
        (encoded(np.zeros((8, 11))), r"row 1, mask: expected a mask of 12 x 8 pixels.*\[8, 11\]"),
        (encoded(np.zeros((8, 12, 3))), "row 1, mask: expected a mask with one class number a pixel"),
    ],
)
def test_a_mask_that_cannot_be_used_is_named_by_file_and_row(write: Any, content: bytes | None, message: str) -> None:
    settings = write("test.parquet", [mask(0), content])
    with pytest.raises(ValueError, match=f"test.parquet, {message}"):
        load_parquet_masks(settings, "test")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"class_names": ""}, "expected the schema metadata to name the classes"),
        ({"class_names": "{"}, "the schema metadata do not describe the classes"),
        ({"ignore_index": "eleven"}, "the schema metadata do not describe the classes"),
    ],
)
def test_classes_that_are_not_described_are_asked_for(write: Any, metadata: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=f"train.parquet: {message}"):
        load_parquet_masks(write("train.parquet", [mask(0)], **metadata), "train")


def test_files_that_disagree_are_named(write: Any) -> None:
    write("train-0.parquet", [mask(0)])
    settings = write("train-1.parquet", [mask(0)], class_names='["road", "tree"]')
    with pytest.raises(ValueError, match=r"train-1.parquet: expected class names and ignore_index of .*train-0"):
        load_parquet_masks(settings, "train")


def test_files_that_are_missing_damaged_empty_or_without_masks_are_named(write: Any, tmp_path: Path) -> None:
    settings = write("train.parquet", [])
    with pytest.raises(ValueError, match="train.parquet: expected rows, found none"):
        load_parquet_masks(settings, "train")
    with pytest.raises(ValueError, match=r"dataset.path: expected files val\*.parquet in .*, found none"):
        load_parquet_masks(settings, "validation")
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="train.parquet: this Parquet file cannot be used"):
        load_parquet_masks(settings, "train")
    pyarrow.parquet.write_table(pyarrow.table({"image": [1], "label": [0]}), tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="expected the columns image and mask, got image, label"):
        load_parquet_masks(settings, "train")


def test_camvid_has_its_published_numbers(real_data: Callable[[str], str]) -> None:
    settings = AnnotatedImagesSettings(name="parquet", path=real_data("camvid"), max_images=3)
    found = load_parquet_masks(settings, "validation")
    assert found.images.shape == (3, 3, 180, 240)
    assert len(found.class_names) == 11
    assert set(found.masks.unique().tolist()) <= {*range(11), 255}

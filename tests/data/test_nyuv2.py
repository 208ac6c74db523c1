from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfkd.data.nyuv2 import CLASSES, load_nyuv2_depths, load_nyuv2_masks
from dfkd.settings.tasks.dense import AnnotatedImagesSettings


@pytest.fixture
def folder(tmp_path: Path, png: Callable[..., bytes]) -> Path:
    """Two training images of 12x8 pixels with masks; one depth of each kind of file."""
    for kind in ("image", "seg13", "depth"):
        (tmp_path / kind / "train").mkdir(parents=True)
    for index in range(2):
        (tmp_path / "image" / "train" / f"{index:04d}.png").write_bytes(png(index, size=(12, 8)))
        mask = np.full((8, 12), 12 * index, dtype=np.uint8)
        mask[0] = 255
        Image.fromarray(mask).save(tmp_path / "seg13" / "train" / f"{index:04d}.png")
    np.save(tmp_path / "depth" / "train" / "0000.npy", np.full((8, 12), 1.25))
    Image.fromarray(np.full((8, 12), 2500, dtype=np.uint16)).save(tmp_path / "depth" / "train" / "0001.png")
    return tmp_path


def settings(folder: Path) -> AnnotatedImagesSettings:
    return AnnotatedImagesSettings(name="nyuv2", path=str(folder))


def test_masks_have_13_classes_and_unlabelled_pixels(folder: Path) -> None:
    found = load_nyuv2_masks(settings(folder), "train")
    assert found.class_names == CLASSES and len(CLASSES) == 13
    assert found.masks[:, 1, 0].tolist() == [0, 12]
    assert found.masks[:, 0].unique().tolist() == [255]


def test_depths_are_metres_in_both_kinds_of_files(folder: Path) -> None:
    found = load_nyuv2_depths(settings(folder), "train")
    assert found.depths[:, 0, 0].tolist() == [1.25, 2.5]


def test_a_depth_of_8_bits_an_object_array_and_a_missing_one_are_named(folder: Path) -> None:
    png, array = folder / "depth" / "train" / "0001.png", folder / "depth" / "train" / "0000.npy"
    Image.new("L", (12, 8)).save(png)
    with pytest.raises(ValueError, match="0001.png: expected a PNG of 16 bits a pixel, in millimetres, got mode L"):
        load_nyuv2_depths(settings(folder), "train")
    np.save(array, np.array([{}], dtype=object), allow_pickle=True)  # no pickle is run
    with pytest.raises(ValueError, match=r"0000.npy: .*allow_pickle=False"):
        load_nyuv2_depths(settings(folder), "train")
    array.unlink()
    with pytest.raises(ValueError, match="0000.npy: .*No such file"):
        load_nyuv2_depths(settings(folder), "train")


def test_splits_and_folders_that_are_not_there_are_said(folder: Path) -> None:
    with pytest.raises(ValueError, match="--split: 'nyuv2' has no validation images; it has train, test"):
        load_nyuv2_masks(settings(folder), "validation")
    with pytest.raises(ValueError, match=r"'nyuv2' expected .*image/test"):
        load_nyuv2_depths(settings(folder), "test")

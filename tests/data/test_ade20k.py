from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfkd.data.ade20k import load_ade20k_masks
from dfkd.settings.tasks.dense import AnnotatedImagesSettings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """ADEChallengeData2016 with two training images of 12x8 pixels."""
    for kind in ("images", "annotations"):
        (tmp_path / kind / "training").mkdir(parents=True)
    for index in (2, 1):
        name = f"ADE_train_{index:08d}"
        Image.new("RGB", (12, 8), (index * 40,) * 3).save(tmp_path / "images" / "training" / f"{name}.jpg")
        values = np.full((8, 12), index * 75, dtype=np.uint8)
        values[0] = 0
        Image.fromarray(values).save(tmp_path / "annotations" / "training" / f"{name}.png")
    return tmp_path


def settings(folder: Path) -> AnnotatedImagesSettings:
    return AnnotatedImagesSettings(name="ade20k", path=str(folder))


def test_0_is_ignored_and_classes_count_from_1_in_the_files(folder: Path) -> None:
    found = load_ade20k_masks(settings(folder), "train")
    assert found.masks[:, 0].unique().tolist() == [255]
    assert found.masks[:, 1, 0].tolist() == [74, 149]  # in the order of the names
    assert found.class_names[0] == "class 1" and len(found.class_names) == 150


def test_names_come_from_the_files_own_list(folder: Path) -> None:
    lines = [f"{index}\t0.1\t10\t1\t\tthing {index}" for index in range(1, 151)]
    (folder / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\tTrain\tVal\tStuff\tName", *lines]))
    assert load_ade20k_masks(settings(folder), "train").class_names[149] == "thing 150"
    (folder / "objectInfo150.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="objectInfo150.txt: expected a heading and 150 classes, found 149"):
        load_ade20k_masks(settings(folder), "train")


def test_a_value_beyond_the_classes_and_a_missing_mask_are_named(folder: Path) -> None:
    file = folder / "annotations" / "training" / "ADE_train_00000002.png"
    Image.fromarray(np.full((8, 12), 151, dtype=np.uint8)).save(file)
    with pytest.raises(ValueError, match="ADE_train_00000002.png: the mask has the value 150, and there are 150"):
        load_ade20k_masks(settings(folder), "train")
    file.unlink()
    with pytest.raises(ValueError, match="ADE_train_00000002.png: "):
        load_ade20k_masks(settings(folder), "train")


def test_folders_without_images_are_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"'ade20k' expected .*images/validation"):
        load_ade20k_masks(settings(folder), "test")
    (folder / "images" / "validation").mkdir()
    with pytest.raises(ValueError, match=r"images/validation: expected images \(\*.jpg\), found none"):
        load_ade20k_masks(settings(folder), "test")

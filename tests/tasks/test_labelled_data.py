import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from dfkd.settings.experiment import DatasetSettings
from dfkd.tasks.labelled_data import load_labelled_data
from dfkd.tasks.transfer import TransferInput

Given = Callable[..., TransferInput]


def copied(coloured: DatasetSettings, folder: Path) -> DatasetSettings:
    shutil.copytree(str(coloured.path), folder)
    return replace(coloured, path=str(folder))


def test_splits_come_with_their_labels_and_classes_can_be_chosen(coloured: DatasetSettings, given: Given) -> None:
    data = load_labelled_data(coloured, None, given())
    assert (len(data.train), len(data.exam), data.class_names) == (36, 18, ("blue", "green", "red"))
    some = load_labelled_data(coloured, (1, 2), given())
    assert (len(some.train), len(some.exam), some.class_names) == (24, 12, ("green", "red"))
    assert set(some.exam.require_labels().tolist()) == {0, 1}


def test_the_exam_may_be_the_validation_split(coloured: DatasetSettings, given: Given) -> None:
    held_out = replace(coloured, validation_fraction=0.25)
    assert len(load_labelled_data(held_out, None, given(exam="validation")).exam) == 9
    with pytest.raises(ValueError, match="colours: this task needs validation images; there are train, test"):
        load_labelled_data(coloured, None, given(exam="validation"))


def test_images_without_labels_are_refused(coloured: DatasetSettings, given: Given, tmp_path: Path) -> None:
    settings = copied(coloured, tmp_path / "colours")
    (tmp_path / "colours" / "validation").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "colours" / "validation" / "0.png")
    with pytest.raises(ValueError, match="colours: the validation images have no labels, and this task needs them"):
        load_labelled_data(settings, None, given(exam="validation"))


def test_a_class_of_the_exam_that_train_lacks_is_named_with_its_image(given: Given, tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    Image.new("RGB", (8, 8)).save(tmp_path / "pixel.png")
    content = {"bytes": (tmp_path / "pixel.png").read_bytes(), "path": None}
    for split, labels in (("train", [0, 2]), ("test", [2, 0, 1])):
        table = pyarrow.table({"image": [content] * len(labels), "label": labels})
        pyarrow.parquet.write_table(table, tmp_path / f"{split}.parquet")
    settings = DatasetSettings(
        name="parquet", path=str(tmp_path), title="pets", class_names=("cat", "dog", "eel"), validation_fraction=0
    )
    with pytest.raises(ValueError, match="pets: image 2 of test is of class 'dog', and no training image is"):
        load_labelled_data(settings, None, given())

from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from dfkd.data import load_dataset
from dfkd.data.real_data import RealData
from dfkd.settings.experiment import DatasetSettings

Write = Callable[..., None]
Png = Callable[..., bytes]


def load(folder: Path, **settings: object) -> RealData:
    return load_dataset(DatasetSettings(name="parquet", path=str(folder), **settings))  # type: ignore[arg-type]


def test_splits_are_found_by_the_files_names(tmp_path: Path, write_parquet: Write, png: Png) -> None:
    write_parquet(tmp_path / "train-00000-of-00001.parquet", [png(0), png(1), png(2)], [0, 1, 0], class_names="ab")
    write_parquet(tmp_path / "validation.parquet", [png(3)], [1], class_names="ab")
    write_parquet(tmp_path / "test-00000-of-00001.parquet", [png(4), png(5)], [1, 0], class_names="ab")
    real_data = load(tmp_path)
    assert {name: images.labels.tolist() for name, images in real_data.splits.items()} == {
        "train": [0, 1, 0],
        "validation": [1],
        "test": [1, 0],
    }
    assert real_data.class_names == ("a", "b")
    assert real_data.title == tmp_path.name


def test_shards_of_a_split_are_joined_in_order(tmp_path: Path, write_parquet: Write, png: Png) -> None:
    write_parquet(tmp_path / "train-00001-of-00002.parquet", [png(2)], [2])
    write_parquet(tmp_path / "train-00000-of-00002.parquet", [png(0), png(1)], [0, 1])
    train = load(tmp_path, validation_fraction=0.0).train
    assert train is not None
    assert train.labels.tolist() == [0, 1, 2]


def test_missing_validation_is_held_out_of_train(tmp_path: Path, write_parquet: Write, png: Png) -> None:
    write_parquet(tmp_path / "train.parquet", [png(seed) for seed in range(20)], [0, 1] * 10)
    real_data = load(tmp_path, validation_fraction=0.2)
    assert real_data.train is not None and real_data.validation is not None
    assert real_data.train.labels.bincount().tolist() == [8, 8]
    assert real_data.validation.labels.bincount().tolist() == [2, 2]


def test_an_exam_without_training_images_can_be_loaded(tmp_path: Path, write_parquet: Write, png: Png) -> None:
    write_parquet(tmp_path / "test.parquet", [png()], [0])
    real_data = load(tmp_path)
    assert list(real_data.splits) == ["test"]


def test_classes_without_names_are_numbered(tmp_path: Path, write_parquet: Write, png: Png) -> None:
    write_parquet(tmp_path / "train.parquet", [png(0), png(1)], [0, 2])
    assert load(tmp_path).class_names == ("class 0", "class 1", "class 2")
    assert load(tmp_path, class_names=("a", "b", "c")).class_names == ("a", "b", "c")


def test_missing_folder_says_what_was_looked_for_and_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist") as error:
        load(tmp_path / "nowhere")
    for part in (
        "train*.parquet",
        str(tmp_path / "nowhere"),
        "--set dataset.path=DIR",
        "Hugging Face",
        "download: true",
    ):
        assert part in str(error.value)


def test_folder_of_other_files_is_described(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"it holds notes\.txt"):
        load(tmp_path)


def test_broken_image_is_named_by_file_and_row(tmp_path: Path, write_parquet: Write, png: Png) -> None:
    write_parquet(tmp_path / "train-0.parquet", [png(0), png(1)], [0, 1])
    write_parquet(tmp_path / "train-1.parquet", [png(2), b"broken"], [0, 1])
    with pytest.raises(ValueError, match=r"train-1\.parquet, row 1: the image does not decode"):
        load(tmp_path)


def test_row_without_bytes_is_named(tmp_path: Path, write_parquet: Write, png: Png) -> None:
    write_parquet(tmp_path / "train.parquet", [png(0), None], [0, 1])
    with pytest.raises(ValueError, match=r"train\.parquet, row 1: .*no image bytes"):
        load(tmp_path)


@pytest.mark.parametrize("label", [-1, None])
def test_unlabelled_row_is_named(tmp_path: Path, write_parquet: Write, png: Png, label: int | None) -> None:
    write_parquet(tmp_path / "test.parquet", [png(0), png(1)], [0, label])
    with pytest.raises(ValueError, match=rf"test\.parquet, row 1: expected a class index from 0, got {label}"):
        load(tmp_path)


@pytest.mark.parametrize("labels", [[None, None], [-1, -1], "no column"], ids=["null", "-1", "no column"])
def test_validation_images_may_be_without_labels(
    tmp_path: Path, write_parquet: Write, png: Png, labels: list[int | None] | str
) -> None:
    write_parquet(tmp_path / "train.parquet", [png(0), png(1)], [0, 1], class_names="ab")
    write_parquet(tmp_path / "val.parquet", [png(2), png(3)], [None, None] if isinstance(labels, str) else labels)
    if isinstance(labels, str):
        stored = pyarrow.parquet.read_table(tmp_path / "val.parquet")
        pyarrow.parquet.write_table(stored.drop_columns("label"), tmp_path / "val.parquet")
    real_data = load(tmp_path)
    assert real_data.validation is not None and real_data.train is not None
    assert real_data.validation.labels is None and len(real_data.validation) == 2
    assert real_data.train.require_labels().tolist() == [0, 1]  # and none of them was held out
    assert real_data.class_names == ("a", "b")


def test_validation_images_are_labelled_all_or_none(tmp_path: Path, write_parquet: Write, png: Png) -> None:
    write_parquet(tmp_path / "val.parquet", [png(0), png(1)], [0, None])
    with pytest.raises(ValueError, match=r"val\.parquet, row 1: expected a class index.*and then all of them"):
        load(tmp_path)


def test_images_that_nobody_labelled_need_class_names(tmp_path: Path, write_parquet: Write, png: Png) -> None:
    write_parquet(tmp_path / "val.parquet", [png(0)], [None])
    with pytest.raises(ValueError, match="dataset.class_names: no image has a label"):
        load(tmp_path)
    assert load(tmp_path, class_names=("a", "b")).num_classes == 2


def test_missing_column_is_named_with_those_that_are_there(tmp_path: Path, write_parquet: Write, png: Png) -> None:
    write_parquet(tmp_path / "train.parquet", [png()], [0], label_column="fine_label")
    with pytest.raises(ValueError, match="got image, fine_label; dataset.image_column and dataset.label_column"):
        load(tmp_path)


def test_columns_are_called_what_the_settings_say(tmp_path: Path, write_parquet: Write, png: Png) -> None:
    columns = {"image_column": "img", "label_column": "fine_label"}
    write_parquet(tmp_path / "train.parquet", [png(0), png(1)], [0, 1], class_names="ab", **columns)
    write_parquet(tmp_path / "val.parquet", [png(2)], [1], **columns)
    real_data = load(tmp_path, **columns)
    assert {name: images.labels.tolist() for name, images in real_data.splits.items()} == {
        "train": [0, 1],
        "validation": [1],
    }
    assert real_data.class_names == ("a", "b")


def test_image_column_of_another_type_is_refused(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"image": ["a.png"], "label": [0]}), tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="expected the column image to be struct<bytes, path>, got string"):
        load(tmp_path)


def test_text_labels_are_refused(tmp_path: Path, png: Png) -> None:
    table = pyarrow.table({"image": [{"bytes": png(), "path": None}], "label": ["cat"]})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="expected the column label to hold integers, got string"):
        load(tmp_path)


def test_truncated_file_is_named(tmp_path: Path, write_parquet: Write, png: Png) -> None:
    path = tmp_path / "train.parquet"
    write_parquet(path, [png()], [0])
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"train\.parquet: this Parquet file cannot be used"):
        load(tmp_path)


def test_splits_that_name_their_classes_differently_are_refused(tmp_path: Path, write_parquet: Write, png: Png) -> None:
    write_parquet(tmp_path / "train.parquet", [png()], [0], class_names="ab")
    write_parquet(tmp_path / "test.parquet", [png()], [0], class_names="ba")
    with pytest.raises(ValueError, match=r"test\.parquet: expected the class names of .*train\.parquet"):
        load(tmp_path)


def test_metadata_that_do_not_describe_labels_are_an_error(tmp_path: Path, png: Png) -> None:
    table = pyarrow.table({"image": [{"bytes": png(), "path": None}], "label": [0]})
    table = table.replace_schema_metadata({"huggingface": "{"})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(ValueError, match=r"train\.parquet: the schema metadata 'huggingface'"):
        load(tmp_path)

from collections.abc import Callable
from pathlib import Path

import pytest

from dfkd.data import load_dataset
from dfkd.data.real_data import RealData
from dfkd.settings.experiment import DatasetSettings

Png = Callable[..., bytes]


def load(folder: Path, **settings: object) -> RealData:
    return load_dataset(
        DatasetSettings(name="image_folder", path=str(folder), validation_fraction=0.0, **settings)  # type: ignore[arg-type]
    )


@pytest.fixture
def write_images(tmp_path: Path, png: Png) -> Callable[..., None]:
    def write(*paths: str) -> None:
        for seed, path in enumerate(paths):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(png(seed))

    return write


def test_splits_and_classes_are_folders(tmp_path: Path, write_images: Callable[..., None]) -> None:
    write_images("train/cat/1.png", "train/ant/1.png", "train/cat/2.png", "val/cat/1.png", "test/ant/1.png")
    real_data = load(tmp_path)
    assert real_data.class_names == ("ant", "cat")
    assert {name: images.labels.tolist() for name, images in real_data.splits.items()} == {
        "train": [0, 1, 1],
        "validation": [1],
        "test": [0],
    }


def test_folder_without_splits_is_one_training_set(tmp_path: Path, write_images: Callable[..., None]) -> None:
    write_images("cat/1.png", "ant/1.png", "ant/below/2.png")
    real_data = load(tmp_path)
    assert list(real_data.splits) == ["train"]
    assert real_data.splits["train"].labels.tolist() == [0, 0, 1]


def test_class_may_be_called_train(tmp_path: Path, write_images: Callable[..., None]) -> None:
    write_images("train/1.png", "bus/1.png")
    assert load(tmp_path).class_names == ("bus", "train")


def test_other_files_are_passed_over(tmp_path: Path, write_images: Callable[..., None]) -> None:
    write_images("cat/1.png", "cat/.hidden.png")
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"")
    (tmp_path / ".cache").mkdir()
    assert len(load(tmp_path).splits["train"]) == 1


def test_settings_order_the_classes_by_their_own_names(tmp_path: Path, write_images: Callable[..., None]) -> None:
    write_images("cat/1.png", "ant/1.png")
    real_data = load(tmp_path, class_names=("cat", "ant"))
    assert real_data.class_names == ("cat", "ant")
    assert sorted(real_data.splits["train"].labels.tolist()) == [0, 1]
    alphabetical = load(tmp_path)
    cat = alphabetical.splits["train"].images[alphabetical.splits["train"].labels == 1]
    assert (real_data.splits["train"].images[real_data.splits["train"].labels == 0] == cat).all()


def test_settings_rename_the_classes(tmp_path: Path, write_images: Callable[..., None]) -> None:
    write_images("n01/1.png", "n02/1.png")
    assert load(tmp_path, class_names=("tench", "goldfish")).class_names == ("tench", "goldfish")


def test_validation_images_may_lie_outside_of_classes(tmp_path: Path, write_images: Callable[..., None]) -> None:
    write_images("train/cat/1.png", "train/ant/1.png", "val/1.png", "val/2.png")
    real_data = load(tmp_path)
    assert real_data.validation is not None and real_data.validation.labels is None
    assert len(real_data.validation) == 2
    assert real_data.class_names == ("ant", "cat")


def test_validation_images_alone_need_class_names(tmp_path: Path, write_images: Callable[..., None]) -> None:
    write_images("validation/1.png")
    with pytest.raises(ValueError, match="dataset.class_names: no image has a label"):
        load(tmp_path)
    real_data = load(tmp_path, class_names=("cat", "ant"))
    assert list(real_data.splits) == ["validation"] and real_data.num_classes == 2


def test_labelled_validation_images_win_and_an_empty_folder_is_none(
    tmp_path: Path, write_images: Callable[..., None]
) -> None:
    write_images("train/cat/1.png", "val/cat/1.png", "validation/1.png")
    assert load(tmp_path).splits["validation"].labels is not None
    write_images("other/train/cat/1.png")
    (tmp_path / "other" / "val").mkdir()
    assert list(load(tmp_path / "other").splits) == ["train"]


def test_class_may_be_called_validation(tmp_path: Path, write_images: Callable[..., None]) -> None:
    write_images("validation/1.png", "training/1.png")
    assert load(tmp_path).class_names == ("training", "validation")


def test_class_that_train_lacks_is_refused(tmp_path: Path, write_images: Callable[..., None]) -> None:
    write_images("train/pneumonia/1.png", "test/pneumona/1.png")
    with pytest.raises(ValueError, match="train has no class 'pneumona'. Did you mean 'pneumonia'?"):
        load(tmp_path)


def test_class_folder_without_images_is_refused(tmp_path: Path, write_images: Callable[..., None]) -> None:
    write_images("cat/1.png")
    (tmp_path / "dog").mkdir()
    with pytest.raises(ValueError, match="dog: expected images .*found none"):
        load(tmp_path)


def test_two_folders_of_one_split_are_refused(tmp_path: Path, write_images: Callable[..., None]) -> None:
    write_images("train/cat/1.png", "val/cat/1.png", "validation/cat/1.png")
    with pytest.raises(ValueError, match="one folder of the validation split"):
        load(tmp_path)


def test_broken_image_is_named(tmp_path: Path, write_images: Callable[..., None]) -> None:
    write_images("cat/1.png", "cat/2.png")
    (tmp_path / "cat" / "2.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"cat/2\.png: the image does not decode"):
        load(tmp_path)


def test_missing_folder_names_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--set dataset.path=DIR"):
        load(tmp_path / "nowhere")

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dfkd.data import DATASETS, load_dataset
from dfkd.settings.experiment import DATASETS as DATASET_NAMES
from dfkd.settings.experiment import DatasetSettings


def test_every_data_set_of_the_settings_has_a_loader() -> None:
    assert tuple(DATASETS) == DATASET_NAMES


def test_importing_data_imports_no_reader() -> None:
    heavy = ("pyarrow", "sklearn", "torchvision")
    code = f"import sys, dfkd.data; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_validation_is_held_out_where_the_fraction_is_zero(
    tmp_path: Path, write_parquet: Callable[..., None], png: Callable[..., bytes]
) -> None:
    write_parquet(tmp_path / "train.parquet", [png(0), png(1)], [0, 1])
    settings = DatasetSettings(name="parquet", path=str(tmp_path), validation_fraction=0.0)
    assert load_dataset(settings).validation is None


def test_cifar10_at_16_pixels_loads_whole(real_data: Callable[[str], str]) -> None:
    cifar10 = load_dataset(DatasetSettings(name="parquet", path=real_data("cifar10"), image_size=16))
    assert cifar10.image_shape == (3, 16, 16)
    assert cifar10.class_names[0] == "airplane"
    counts = {name: images.labels.bincount().tolist() for name, images in cifar10.splits.items()}
    assert counts == {"train": [4500] * 10, "validation": [500] * 10, "test": [1000] * 10}
    mean, std = cifar10.normalisation()
    assert mean == pytest.approx((0.491, 0.482, 0.447), abs=2e-3)  # the published means of CIFAR-10
    assert all(0.2 < value < 0.25 for value in std)


def test_pneumonia_mnist_is_grey_and_imbalanced(real_data: Callable[[str], str]) -> None:
    pneumonia = load_dataset(DatasetSettings(name="parquet", path=real_data("pneumonia-mnist")))
    assert pneumonia.image_shape == (1, 28, 28)
    assert pneumonia.class_names == ("normal", "pneumonia")
    counts = {name: images.labels.bincount().tolist() for name, images in pneumonia.splits.items()}
    assert counts == {"train": [388, 3494], "validation": [135, 389], "test": [234, 390]}


def test_tiny_imagenet_50_holds_its_validation_out_of_train(real_data: Callable[[str], str]) -> None:
    tiny = load_dataset(DatasetSettings(name="parquet", path=real_data("tiny-imagenet-50"), image_size=32))
    assert tiny.num_classes == 50
    counts = {name: set(images.labels.bincount().tolist()) for name, images in tiny.splits.items()}
    assert counts == {"train": {270}, "validation": {30}, "test": {50}}

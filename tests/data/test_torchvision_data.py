from pathlib import Path

import numpy as np
import pytest

from dfkd.data import load_dataset
from dfkd.data.real_data import RealData
from dfkd.settings.experiment import DatasetSettings


def load(folder: Path, name: str, **settings: object) -> RealData:
    return load_dataset(
        DatasetSettings(name="torchvision", torchvision_name=name, path=str(folder), **settings)  # type: ignore[arg-type]
    )


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write an array of bytes as the original files of MNIST do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


def test_mnist_is_read_through_torchvision(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for prefix, size in (("train", 20), ("t10k", 10)):
        write_idx(tmp_path / f"MNIST/raw/{prefix}-images-idx3-ubyte", random.integers(0, 256, (size, 28, 28)))
        write_idx(tmp_path / f"MNIST/raw/{prefix}-labels-idx1-ubyte", np.arange(size) % 10)
    mnist = load(tmp_path, "MNIST", validation_fraction=0.5)
    assert {name: images.images.shape for name, images in mnist.splits.items()} == {
        "train": (10, 1, 28, 28),
        "validation": (10, 1, 28, 28),
        "test": (10, 1, 28, 28),
    }
    assert mnist.splits["test"].labels.tolist() == list(range(10))
    assert mnist.class_names[3] == "3 - three"
    assert mnist.title == "MNIST"


def test_missing_files_say_how_to_download_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"torchvision's CIFAR10 .*dataset\.download: true"):
        load(tmp_path, "CIFAR10")


def test_data_sets_with_named_splits_report_missing_files_too(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"torchvision's SVHN .*dataset\.download: true"):
        load(tmp_path, "SVHN")


def test_misspelt_data_set_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'CIFAR1O' is unknown. Did you mean 'CIFAR10'?"):
        load(tmp_path, "CIFAR1O")

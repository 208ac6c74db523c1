from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from dfkd.baselines.public_images import load_public_images
from dfkd.data.real_data import RealData
from dfkd.settings.synthesis import PublicImagesSettings

Data = Callable[..., RealData]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five colour images of 12x10, each of one level of red, in two classes."""
    for index in range(5):
        path = tmp_path / "train" / ("car", "bus")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 10), (50 * index, 0, 0)).save(path)
    return tmp_path


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 8, 6), (1, 16, 16)], ids=str)
def test_images_get_the_teachers_size_and_channels(folder: Path, data: Data, shape: tuple[int, int, int]) -> None:
    images = load_public_images(PublicImagesSettings(path=str(folder), kind="image_folder"), data(*shape))
    assert images.shape == (5, *shape) and images.dtype == torch.uint8
    red = sorted(images[:, 0, 0, 0].tolist())
    assert red == ([0, 50, 100, 150, 200] if shape[0] == 3 else [0, 15, 30, 45, 60])


def test_of_a_large_set_the_same_few_are_drawn(folder: Path, data: Data) -> None:
    settings = PublicImagesSettings(path=str(folder), kind="image_folder", max_images=2)
    once, again = load_public_images(settings, data()), load_public_images(settings, data())
    assert len(once) == 2 and torch.equal(once, again)


def test_a_missing_folder_is_told_by_the_methods_own_setting(tmp_path: Path, data: Data) -> None:
    with pytest.raises(ValueError, match=r"^synthesis.path: expected .*--set synthesis.path=DIR"):
        load_public_images(PublicImagesSettings(path=str(tmp_path / "nowhere")), data())


def test_a_folder_without_training_images_is_refused(folder: Path, data: Data) -> None:
    (folder / "train").rename(folder / "test")
    with pytest.raises(ValueError, match="synthesis.path: expected training images"):
        load_public_images(PublicImagesSettings(path=str(folder), kind="image_folder"), data())


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(ValueError, match="path: 'public_images' needs a folder"):
        PublicImagesSettings(path="")

import torch

from dfkd.data import load_dataset
from dfkd.settings.experiment import DatasetSettings


def test_digits_have_the_fixed_split() -> None:
    digits = load_dataset(DatasetSettings())
    assert {name: len(images) for name, images in digits.splits.items()} == {
        "train": 1077,
        "validation": 360,
        "test": 360,
    }
    assert digits.image_shape == (1, 8, 8)
    assert digits.class_names[3] == "three"


def test_digits_of_the_splits_are_all_of_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    digits = load_dataset(DatasetSettings())
    together = torch.cat([images.images for images in digits.splits.values()]).flatten(1)
    original = torch.from_numpy(load_digits().data)
    restored = (together.double() * 16 / 255).round()
    assert sorted(map(tuple, restored.tolist())) == sorted(map(tuple, original.tolist()))
    assert int(together.max()) == 255


def test_digits_are_stratified() -> None:
    digits = load_dataset(DatasetSettings())
    for images in digits.splits.values():
        shares = images.labels.bincount() / len(images)
        assert (shares - 0.1).abs().max() < 0.01


def test_digits_follow_channels_size_names_and_title() -> None:
    names = tuple("abcdefghij")
    digits = load_dataset(DatasetSettings(channels=3, image_size=16, class_names=names, title="Digits at 16x16"))
    assert digits.image_shape == (3, 16, 16)
    assert digits.class_names == names
    assert digits.title == "Digits at 16x16"

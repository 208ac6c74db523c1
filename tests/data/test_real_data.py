import pytest
import torch

from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData


def image_set(*labels: int, size: int = 4, channels: int = 1) -> ImageSet:
    images = torch.randint(0, 256, (len(labels), channels, size, size), dtype=torch.uint8)
    return ImageSet(images, torch.tensor(labels))


def test_normalisation_makes_training_images_zero_mean_and_unit_variance() -> None:
    torch.manual_seed(0)
    train = image_set(0, 1, 0, channels=3, size=16)
    mean, std = RealData("x", ("a", "b"), train, None, None).normalisation()
    shape = (3, 1, 1)
    normalised = (train.images.double() / 255 - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    torch.testing.assert_close(normalised.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(normalised.square().mean((0, 2, 3)), torch.ones(3).double(), atol=1e-6, rtol=0)


def test_normalisation_of_two_grey_levels_is_as_worked_by_hand() -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    train = ImageSet(images, torch.tensor([0, 1]))
    assert RealData("x", ("a", "b"), train, None, None).normalisation() == ((0.5,), (0.5,))


def test_constant_channel_can_be_divided_by() -> None:
    train = ImageSet(torch.full((2, 1, 4, 4), 51, dtype=torch.uint8), torch.tensor([0, 1]))
    mean, std = RealData("x", ("a", "b"), train, None, None).normalisation()
    assert mean == pytest.approx((0.2,))
    assert std == (1 / 255,)


def test_normalisation_without_training_images_says_what_to_give_instead() -> None:
    with pytest.raises(ValueError, match="teacher.mean"):
        RealData("x", ("a", "b"), None, None, image_set(0, 1)).normalisation()


def test_splits_are_those_that_exist() -> None:
    train, test = image_set(0), image_set(1)
    real_data = RealData("x", ("a", "b"), train, None, test)
    assert real_data.splits == {"train": train, "test": test}
    assert real_data.image_shape == (1, 4, 4)
    assert real_data.num_classes == 2


def test_real_data_without_any_split_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one of train"):
        RealData("x", ("a",), None, None, None)


def test_splits_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one image shape.*'test': \(1, 5, 5\)"):
        RealData("x", ("a",), image_set(0), None, image_set(0, size=5))


def test_label_beyond_the_class_names_is_refused_by_split_and_position() -> None:
    with pytest.raises(ValueError, match="image 1 of validation has label 2, but there are 2 class names: a, b"):
        RealData("x", ("a", "b"), image_set(0), image_set(1, 2), None)


def test_only_validation_images_may_be_without_labels() -> None:
    unlabelled = ImageSet(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), None)
    assert RealData("x", ("a",), image_set(0), unlabelled, None).validation is unlabelled
    for splits in ((unlabelled, None, None), (None, None, unlabelled)):
        with pytest.raises(ValueError, match="x: expected labels for the (train|test) images, got none"):
            RealData("x", ("a",), *splits)

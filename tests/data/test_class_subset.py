import pytest
import torch

from dfkd.data.class_subset import keep_classes
from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData


def data(test_labels: list[int]) -> RealData:
    def images(labels: list[int]) -> ImageSet:
        pixels = torch.tensor(labels, dtype=torch.uint8).view(-1, 1, 1, 1)
        return ImageSet(pixels, torch.tensor(labels))

    return RealData("letters", ("a", "b", "c", "d"), images([0, 1, 2, 3, 2]), None, images(test_labels))


def test_images_keep_their_class_under_a_label_from_0() -> None:
    kept = keep_classes(data([3, 0, 1]), 1, 2)
    assert kept.class_names == ("b", "c")
    assert kept.train is not None and kept.test is not None and kept.validation is None
    assert kept.train.require_labels().tolist() == [0, 1, 1]
    assert kept.train.images.flatten().tolist() == [1, 2, 2]
    assert kept.test.require_labels().tolist() == [0]
    assert kept.title == "letters, classes 1 to 2"


def test_classes_that_are_not_there_are_named() -> None:
    with pytest.raises(ValueError, match=r"classes: letters has classes 0 to 3, got \[2, 4\]"):
        keep_classes(data([0]), 2, 4)
    with pytest.raises(ValueError, match="classes: letters, test has no image of the classes 2 to 3"):
        keep_classes(data([0]), 2, 3)

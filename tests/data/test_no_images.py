import pytest

from dfkd.data import load_dataset
from dfkd.settings.experiment import DatasetSettings


def test_what_the_teacher_takes_is_all_that_is_known() -> None:
    data = load_dataset(DatasetSettings(name="none", image_size=16, channels=3, class_names=("cat", "dog")))
    assert (data.image_shape, data.class_names, data.splits) == ((3, 16, 16), ("cat", "dog"), {})
    with pytest.raises(ValueError, match="no real images: the normalisation is measured on training images"):
        data.normalisation()


@pytest.mark.parametrize(
    ("known", "missing"),
    [
        ({}, "image_size"),
        ({"image_size": 16}, "channels"),
        ({"image_size": 16, "channels": 1}, "class_names"),
    ],
)
def test_what_no_image_shows_must_be_said(known: dict[str, int], missing: str) -> None:
    with pytest.raises(ValueError, match=f"{missing}: dataset 'none' has no image to read it from"):
        DatasetSettings(name="none", **known)

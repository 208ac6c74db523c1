from collections.abc import Callable
from typing import get_args

import pytest
import torch

from dfkd.baselines import BASELINES
from dfkd.data.real_data import RealData
from dfkd.settings.synthesis import RealImagesSettings, StoredImagesSettings, SynthesisSettings
from dfkd.synthesis import SYNTHESIZERS


def test_every_baseline_on_stored_images_says_where_they_come_from() -> None:
    members = get_args(SynthesisSettings)
    stored = {member.__name__ for member in members if issubclass(member, StoredImagesSettings)}
    assert stored == {"RealImagesSettings", "PublicImagesSettings", "ImageCropsSettings"}
    assert len(members) == len(SYNTHESIZERS) + len(BASELINES)
    assert not set(SYNTHESIZERS) & set(BASELINES)


def test_the_ceiling_learns_from_the_training_split(data: Callable[..., RealData]) -> None:
    real = data()
    assert real.train is not None
    assert torch.equal(BASELINES["real_images"](RealImagesSettings(), real), real.train.images)


def test_a_ceiling_without_training_images_is_refused(data: Callable[..., RealData]) -> None:
    with pytest.raises(ValueError, match="'real_images' learns from training images, and 'pets' has none"):
        BASELINES["real_images"](RealImagesSettings(), data(train=False))

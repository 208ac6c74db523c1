import warnings
from collections.abc import Callable

import pytest
import torch

from dfkd.settings.experiment import DatasetSettings
from dfkd.settings.tasks import FewShotSettings
from dfkd.tasks.few_shot import draw, few_shot, half_width, score_draw
from dfkd.tasks.transfer import TransferInput

Given = Callable[..., TransferInput]


def test_a_draw_holds_as_many_of_each_class_and_changes() -> None:
    labels, random = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2]), torch.Generator().manual_seed(0)
    first, second = draw(labels, 2, random), draw(labels, 2, random)
    assert first.shape == (3, 2)
    assert labels[first].tolist() == [[0, 0], [1, 1], [2, 2]]
    assert len(first.flatten().unique()) == 6
    assert not torch.equal(first, second)


def test_the_interval_is_students() -> None:
    # standard deviation 1, three values: t(0.975, 2) = 4.3027
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(4.3027 / 3**0.5, rel=1e-4)


def test_columns_are_mean_and_interval_of_every_number_of_shots(coloured: DatasetSettings, given: Given) -> None:
    settings = FewShotSettings(dataset=coloured, shots=(1, 8), draws=4, inverse_regularisation=100.0)
    scores = few_shot(settings, given())
    assert set(scores) == {"1_shot", "1_shot_interval", "8_shot", "8_shot_interval"}
    assert scores["8_shot"] > 0.9
    assert scores["8_shot"] >= scores["1_shot"] > 1 / 3
    assert scores == few_shot(settings, given())
    assert scores != few_shot(settings, given(seed=1))


def test_one_image_a_class_is_no_reason_to_warn() -> None:
    features, labels = torch.eye(30), torch.arange(30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        settings = FewShotSettings(dataset=DatasetSettings(), inverse_regularisation=100.0)
        assert score_draw(settings, features, labels, 0.5 * features, labels) == 1.0


def test_more_shots_than_images_are_refused(coloured: DatasetSettings, given: Given) -> None:
    with pytest.raises(ValueError, match="shots: colours has 12 training images of class 'blue', and 13 are asked"):
        few_shot(FewShotSettings(dataset=coloured, shots=(13,)), given())

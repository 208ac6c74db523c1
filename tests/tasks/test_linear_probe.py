from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from dfkd.settings.experiment import DatasetSettings
from dfkd.settings.tasks import LinearProbeSettings
from dfkd.tasks.linear_probe import linear_probe
from dfkd.tasks.transfer import TransferInput

Given = Callable[..., TransferInput]


def settings(dataset: DatasetSettings, **values: Any) -> LinearProbeSettings:
    return LinearProbeSettings(**({"dataset": dataset, "epochs": 6, "batch_size": 12, "learning_rate": 0.1} | values))


@pytest.mark.parametrize("augment", [True, False])
def test_classes_that_differ_in_colour_are_read_off_untrained_features(
    coloured: DatasetSettings, given: Given, unchanged: Callable[[nn.Module], Callable[[], bool]], augment: bool
) -> None:
    network = given()
    is_unchanged = unchanged(network.network.model)
    assert linear_probe(settings(coloured, augment=augment), network)["top1"] > 0.9
    assert is_unchanged()  # BatchNorm among it


def test_features_that_are_all_equal_leave_chance(coloured: DatasetSettings, given: Given) -> None:
    network = given()
    with torch.no_grad():
        network.network.model.conv1.weight.zero_()  # type: ignore[union-attr, operator]
    assert linear_probe(settings(coloured), network)["top1"] == pytest.approx(1 / 3)


def test_the_seed_decides_the_classifier(coloured: DatasetSettings, given: Given) -> None:
    one_step = settings(coloured, epochs=1, batch_size=36, learning_rate=1e-6)  # the start all but decides
    scores = {seed: linear_probe(one_step, given(seed=seed))["top1"] for seed in range(4)}
    assert linear_probe(one_step, given(seed=2))["top1"] == scores[2]
    assert len(set(scores.values())) > 1


def test_standardised_features_make_their_scale_play_no_part(coloured: DatasetSettings, given: Given) -> None:
    class Scaled(nn.Module):
        def __init__(self, inner: nn.Module, factor: float) -> None:
            super().__init__()
            self.inner, self.factor, self.feature_width = inner, factor, inner.feature_width

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.forward_features(images)

        def forward_features(self, images: torch.Tensor) -> torch.Tensor:
            return self.factor * self.inner.forward_features(images)  # type: ignore[operator, no-any-return]

        def classify(self, features: torch.Tensor) -> torch.Tensor:
            return features

    def score(factor: float, standardise: bool) -> float:
        network = given()
        object.__setattr__(network.network, "model", Scaled(network.network.model, factor))
        values = settings(coloured, standardise=standardise, learning_rate=1e-3, epochs=2)
        return linear_probe(values, network)["top1"]

    assert score(1.0, True) == score(0.01, True)
    assert score(1.0, False) != score(0.01, False)

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from dfkd.settings.experiment import DatasetSettings
from dfkd.settings.tasks import FineTuningSettings
from dfkd.tasks.fine_tuning import FineTuned, fine_tuning
from dfkd.tasks.transfer import TransferInput

Given = Callable[..., TransferInput]


def settings(dataset: DatasetSettings, **values: Any) -> FineTuningSettings:
    return FineTuningSettings(**({"dataset": dataset, "epochs": 4, "batch_size": 12} | values))


def test_the_classes_are_learnt_and_the_network_stays_as_it_was(
    coloured: DatasetSettings, given: Given, unchanged: Callable[[nn.Module], Callable[[], bool]]
) -> None:
    network = given()
    is_unchanged = unchanged(network.network.model)
    assert fine_tuning(settings(coloured), network)["top1"] > 0.9
    assert is_unchanged()
    assert all(parameter.grad is None for parameter in network.network.model.parameters())


def test_all_layers_train_but_the_old_classifier(
    coloured: DatasetSettings, given: Given, interruption: Callable[[int], Any]
) -> None:
    progress = interruption(1)
    network = given(progress=progress)
    with pytest.raises(KeyboardInterrupt):
        fine_tuning(settings(coloured), network)
    before = network.network.model.state_dict()
    after = {
        name.removeprefix("backbone."): value
        for name, value in progress.state["network"].items()
        if name.startswith("backbone.")
    }
    same = {name for name, value in after.items() if torch.equal(value, before[name])}
    assert same == {"linear.weight", "linear.bias"}  # so BatchNorm's statistics have moved, too


def test_an_interrupted_task_ends_with_the_same_score(
    coloured: DatasetSettings, given: Given, interruption: Callable[[int], Any]
) -> None:
    hard = settings(coloured, backbone_learning_rate=1e-3, head_learning_rate=1e-3)  # so that the score is not 1
    progress = interruption(2)
    with pytest.raises(KeyboardInterrupt):
        fine_tuning(hard, given(progress=progress))
    score = fine_tuning(hard, given(progress=progress))
    assert score == fine_tuning(hard, given())
    assert score["top1"] < 1


def test_logits_are_of_the_new_classes(given: Given) -> None:
    network = FineTuned(given().network.model, 5)
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 5)

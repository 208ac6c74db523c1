from collections.abc import Callable

import pytest
import torch
from torch import nn

from dfkd.settings.experiment import DatasetSettings
from dfkd.settings.tasks import LinearProbeSettings, NearestNeighboursSettings
from dfkd.tasks.linear_probe import linear_probe
from dfkd.tasks.nearest_neighbours import nearest_neighbours
from dfkd.tasks.transfer import TransferInput
from dfkd.teachers import Teacher

Given = Callable[..., TransferInput]


def network(model: nn.Module) -> Teacher:
    return Teacher(
        model=model, architecture="own", class_names=("a", "b"), image_shape=(3, 8, 8),
        mean=(0.5,) * 3, std=(0.25,) * 3, provenance="made in a test",
    )  # fmt: skip


def test_weights_depend_on_the_seed_alone(given: Given) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = given(seed=1).seeded(lambda: nn.Linear(4, 2))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    again, other = given(seed=1).seeded(lambda: nn.Linear(4, 2)), given(seed=2).seeded(lambda: nn.Linear(4, 2))
    assert torch.equal(first.weight, again.weight)  # type: ignore[arg-type]
    assert not torch.equal(first.weight, other.weight)  # type: ignore[arg-type]


def test_images_are_normalised_as_the_network_was_trained(given: Given) -> None:
    assert given().normalise(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)).flatten().tolist() == [2, 2, 2]


def test_a_graph_without_features_is_refused(coloured: DatasetSettings) -> None:
    graph = TransferInput(network=network(nn.Sequential(nn.Flatten(), nn.Linear(192, 2))))
    with pytest.raises(ValueError, match="model: this task needs features, and a Sequential gives logits alone"):
        nearest_neighbours(NearestNeighboursSettings(dataset=coloured), graph)


def test_features_of_no_width_are_refused(coloured: DatasetSettings, given: Given) -> None:
    model = given().network.model
    model.feature_width = 0  # type: ignore[assignment]
    with pytest.raises(ValueError, match="model: expected features of a width of at least 1, got 0"):
        linear_probe(LinearProbeSettings(dataset=coloured, epochs=1), TransferInput(network=network(model)))


def test_images_of_other_channels_are_refused(coloured: DatasetSettings, given: Given) -> None:
    with pytest.raises(ValueError, match=r"dataset.channels: untrained, seed 0 takes images of 1 channels, .* have 3"):
        nearest_neighbours(NearestNeighboursSettings(dataset=coloured), given(channels=1))

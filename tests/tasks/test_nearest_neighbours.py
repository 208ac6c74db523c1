import math
from collections.abc import Callable

import pytest
import torch

from dfkd.settings.experiment import DatasetSettings
from dfkd.settings.tasks import NearestNeighboursSettings
from dfkd.tasks.nearest_neighbours import nearest_neighbours, vote
from dfkd.tasks.transfer import TransferInput


def test_votes_are_as_worked_by_hand() -> None:
    known = torch.tensor([[2.0, 0.0], [0.0, 5.0], [3.0, 3.0], [-1.0, 0.0]])
    votes = vote(
        torch.tensor([[7.0, 0.0]]), known, torch.tensor([0, 1, 1, 2]), num_classes=3, num_neighbours=3, temperature=0.5
    )
    half = math.sqrt(0.5)  # cosine similarities: 1, 0, sqrt(1/2), -1
    assert votes[0].tolist() == pytest.approx([math.exp(2), 1 + math.exp(half / 0.5), 0.0])


def test_many_weak_neighbours_outvote_one_at_a_high_temperature_alone() -> None:
    known = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.8, -0.6]])
    labels, query = torch.tensor([0, 1, 1]), torch.tensor([[1.0, 0.0]])

    def winner(temperature: float, count: int = 20) -> int:
        return int(
            vote(query, known, labels, num_classes=2, num_neighbours=count, temperature=temperature).argmax(dim=1)
        )

    assert winner(10.0) == 1
    assert winner(0.07) == 0
    assert winner(10.0, count=1) == 0


def test_scale_of_features_plays_no_part() -> None:
    random = torch.Generator().manual_seed(0)
    queries, known = torch.randn(700, 5, generator=random), torch.randn(40, 5, generator=random)  # over two blocks
    labels = torch.arange(40) % 4
    votes = [
        vote(q, k, labels, num_classes=4, num_neighbours=5, temperature=0.07)
        for q, k in ((queries, known), (3 * queries, 0.1 * known))
    ]
    assert torch.allclose(votes[0], votes[1], rtol=1e-3)


def test_neighbours_share_their_colour(coloured: DatasetSettings, given: Callable[..., TransferInput]) -> None:
    assert nearest_neighbours(NearestNeighboursSettings(dataset=coloured), given())["top1"] > 0.9

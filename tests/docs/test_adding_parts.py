"""The blocks of docs/adding-parts.md, as they stand there, held to what the parts of each kind promise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dfkd import data
from dfkd.data.image_set import ImageSet
from dfkd.models import Backbone
from dfkd.settings.experiment import DatasetSettings
from dfkd.tasks import TASKS, TaskInput, evaluate

PAGE = (Path(__file__).parents[2] / "docs" / "adding-parts.md").read_text()


def block(heading: str) -> dict[str, Any]:
    """Run the Python block under a heading and return what it defines."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = {"__name__": "page"}
    exec(compile(code, heading, "exec", dont_inherit=True), found)
    return found


def test_the_network_shows_its_features() -> None:
    network = block("A network")["tiny_network"](7, 1).eval()
    images = torch.rand(3, 1, 8, 8)
    assert isinstance(network, Backbone)
    assert network.forward_features(images).shape == (3, network.feature_width)
    assert torch.equal(network.classify(network.forward_features(images)), network(images))
    assert network(images).shape == (3, 7)


def test_the_data_set_has_disjoint_splits_of_its_own_and_a_validation_split_held_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(data.DATASETS, "digits", block("A data set")["load_squares"])  # under a name that settings know
    squares = data.load_dataset(DatasetSettings(name="digits", validation_fraction=0.2))
    assert {name: len(images) for name, images in squares.splits.items()} == {"train": 24, "validation": 6, "test": 10}
    assert (squares.image_shape, squares.title) == ((1, 8, 8), "squares")


def test_the_task_gives_numbers_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "confidence", block("A task")["confidence"])
    images = ImageSet(torch.eye(2, dtype=torch.uint8).view(2, 1, 1, 2) * 255, torch.tensor([0, 1]))
    reads = nn.Flatten()  # pixels are logits
    for scale, mean in ((100.0, 1.0), (0.0, 0.5)):
        given = TaskInput(student=reads, teacher=reads, images=images, normalise=lambda pixels, by=scale: by * pixels)
        assert evaluate(["confidence"], given) == {"confidence/mean": pytest.approx(mean)}


def test_the_noise_source_has_zero_mean_and_unit_variance() -> None:
    draw = block("A noise source")["arcsine"]
    drawn = draw(torch.zeros(1000), 100, torch.Generator().manual_seed(0))
    assert drawn.shape == (1000, 100)
    assert abs(float(drawn.mean())) < 0.02 and float(drawn.var()) == pytest.approx(1.0, abs=0.02)
    assert torch.equal(drawn, draw(torch.zeros(1000), 100, torch.Generator().manual_seed(0)))

"""A search with several objectives, from the command to the registered point of its front."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dfkd.config import read_yaml

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def space(tmp_path: Path) -> str:
    """The smoke space with two more objectives and students of two widths."""
    raw: dict[str, Any] = read_yaml(ROOT / "search_spaces" / "smoke.yaml")
    raw["experiment"]["student"] = {"architecture": "resnet", "blocks": 1, "width": 4}
    raw["parameters"]["student.width"] = {"type": "categorical", "choices": [2, 4]}
    near = {"type": "transfer", "by": {"task": "nearest_neighbours", "dataset": {"name": "digits"}}}
    raw["further_objectives"] = {"parameters": {"type": "cost"}, "near": near}
    raw |= {"trials": 5, "workers_check": False, "seed_repeats": 0}
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump(raw))
    return str(file)


def test_a_front_is_searched_shown_and_one_point_of_it_registered(
    run: Callable[..., Any], space: str, tmp_path: Path
) -> None:
    home, outcome = str(tmp_path / "home"), tmp_path / "outcome.json"
    done = run("search.py", space, "--home", home, "--json", str(outcome), timeout=600)
    assert done.status == 0, done.output + done.errors
    (line,) = done.said("  front ")
    facts = json.loads(outcome.read_text())
    assert f"{len(facts['front']['points'])} of 5 trials" in line
    assert facts["front"]["registered"] == facts["chosen"]["key"]
    widths = {trial["params"]["student.width"] for trial in facts["trials"]}
    sizes = {trial["metrics"]["further/parameters"] for trial in facts["trials"]}
    assert len(sizes) == len(widths)
    assert all(0 < trial["metrics"]["further/near"] <= 1 for trial in facts["trials"])
    assert facts["student_parameters"] == next(
        point["parameters"] for point in facts["front"]["points"] if point["key"] == facts["front"]["registered"]
    )
    again = run("search.py", space, "--home", home, "--resume", "--trials", "6", timeout=600)
    assert again.status == 0, again.output + again.errors
    assert "of 6 trials" in again.said("  front ")[0]

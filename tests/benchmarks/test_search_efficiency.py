"""Searches over a table made by hand, where the best point and what each costs are known."""

from __future__ import annotations

import importlib
import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from dfkd.search.load import load_space

ROOT = Path(__file__).parents[2]
OPTIONS = {"slots": 1, "grace_epochs": 2, "reduction_factor": 2}


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The table, a search over it and the command, which imports both."""
    names = ("search_table", "search_replay", "search_efficiency")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        found = {name: importlib.import_module(name) for name in names}
    yield found
    for name in names:
        del sys.modules[name]


@pytest.fixture
def points(scripts: dict[str, ModuleType]) -> ModuleType:
    return scripts["search_table"]


@pytest.fixture
def replays(scripts: dict[str, ModuleType]) -> ModuleType:
    return scripts["search_replay"]


@pytest.fixture
def command(scripts: dict[str, ModuleType]) -> ModuleType:
    return scripts["search_efficiency"]


@pytest.fixture
def table(points: ModuleType) -> dict[tuple[int, ...], Any]:
    """Eight epochs of a second each; agreement grows with the learning rate's place and with nothing else."""
    places = itertools.product(*(range(len(values)) for values in points.GRID.values()))
    return {
        place: points.Curve(
            agreement=tuple((1 + place[3]) / 10 + epoch / 100 for epoch in range(8)),
            kl=tuple(1.0 - place[3] / 10 for _ in range(8)),
            kd_loss=tuple(1.0 + place[3] / 10 for _ in range(8)),
            validation=tuple((1 + place[3]) / 5 for _ in range(8)),
            seconds=tuple(1.0 + epoch for epoch in range(8)),
        )
        for place in places
    }


def test_the_default_settings_come_first_and_no_point_comes_twice(
    points: ModuleType, replays: ModuleType, table: dict[tuple[int, ...], Any]
) -> None:
    for name in ("random", "tpe"):
        whole = replays.search(table, replays.ARMS[name], seed=0, seconds=8.0 * 48, **OPTIONS)
        assert whole[0] == (8.0, points.DEFAULT)
        assert len({place for _, place in whole}) == len(whole) == 48  # every point, in 8 seconds each
        assert [end for end, _ in whole] == [8.0 * (1 + number) for number in range(48)]


def test_two_at_a_time_end_twice_as_much(replays: ModuleType, table: dict[tuple[int, ...], Any]) -> None:
    options = OPTIONS | {"slots": 2}
    assert len(replays.search(table, replays.ARMS["random"], seed=0, seconds=80.0, **options)) == 20


def test_early_stopping_ends_bad_trials_and_sees_more_points(
    points: ModuleType, replays: ModuleType, table: dict[tuple[int, ...], Any]
) -> None:
    arm = replays.ARMS["random, early stopping"]
    whole = replays.search(table, arm, seed=0, seconds=10_000.0, **OPTIONS)
    ends = [end for end, _ in whole]
    assert len(whole) < 48 and ends[-1] < 8.0 * 48 * 0.8
    assert whole[0][1] == points.DEFAULT
    assert max(place[3] for _, place in whole) == 3  # a best one is not stopped


def test_the_default_settings_stand_in_the_way_of_the_first_that_are_worse(
    points: ModuleType, replays: ModuleType, table: dict[tuple[int, ...], Any]
) -> None:
    """They are never stopped, and what comes to a rung after them is compared with them, as in a search."""
    arm = replays.ARMS["random, early stopping"]
    nothing = (0.0,) * 8
    worse = {
        place: curve if place == points.DEFAULT else replace(curve, agreement=nothing) for place, curve in table.items()
    }
    whole = replays.search(worse, arm, seed=0, seconds=8.0 + 8.0, **OPTIONS)  # in which the second one could have ended
    assert whole == [(8.0, points.DEFAULT)]


def test_the_grid_has_the_default_settings(points: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    space = load_space(str(ROOT / "search_spaces" / "digits_cae.yaml"), [])
    at = {path: values[index] for (path, values), index in zip(points.GRID.items(), points.DEFAULT, strict=True)}
    assert space.defaults() == at


def test_a_sampler_that_learns_finds_the_best_earlier(replays: ModuleType, table: dict[tuple[int, ...], Any]) -> None:
    def good(name: str) -> int:
        found = [replays.search(table, replays.ARMS[name], seed=seed, seconds=8.0 * 16, **OPTIONS) for seed in range(5)]
        return sum(place[3] == 3 for whole in found for _, place in whole)

    assert good("tpe after 4 random points") > good("random")


def test_the_incumbent_is_the_best_whole_trial_by_agreement(
    replays: ModuleType, table: dict[tuple[int, ...], Any]
) -> None:
    whole = [(8.0, (0, 0, 0, 1)), (16.0, (0, 0, 0, 2)), (24.0, (0, 0, 0, 0))]
    assert replays.regrets(table, whole, 10.0) == (pytest.approx(0.4), pytest.approx(0.2))
    assert replays.regrets(table, whole, 30.0) == (pytest.approx(0.2), pytest.approx(0.1))
    assert all(value != value for value in replays.regrets(table, whole, 5.0))


def test_a_replay_prints_a_row_an_arm(
    command: ModuleType,
    points: ModuleType,
    replays: ModuleType,
    table: dict[tuple[int, ...], Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "ARMS", {name: replays.ARMS[name] for name in ("random", "tpe, early stopping")})
    runs = {points.name_of(place): vars(curve) for place, curve in table.items()}
    grid = {path: list(values) for path, values in points.GRID.items()}
    (tmp_path / "part.json").write_text(json.dumps({"runs": dict(list(runs.items())[:40]), "grid": grid}))
    with pytest.raises(SystemExit, match="has 40 runs of its grid; `record` makes 48 of this"):
        points.read_table(str(tmp_path / "part.json"))
    (tmp_path / "table.json").write_text(json.dumps({"runs": runs, "grid": grid}))
    arguments = SimpleNamespace(
        table=str(tmp_path / "table.json"), trials=8, at_once=2, seeds=3, grace_epochs=2, reduction_factor=2
    )
    arguments.json = str(tmp_path / "out.json")
    command.replay(arguments)
    *rows, agreement, kl, loss = capsys.readouterr().out.splitlines()
    assert len(rows) == 4
    assert "agreement against validation accuracy: 1.00" in agreement and "kl against validation accuracy: 1.00" in kl
    assert "last KD loss against validation accuracy: -1.00" in loss
    facts = json.loads((tmp_path / "out.json").read_text())
    assert facts["points"] == 48 and facts["seconds"] == 8 * 8.0 / 2
    assert facts["arms"]["random"]["whole_trials"] == 8.0

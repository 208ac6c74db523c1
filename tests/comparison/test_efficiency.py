from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from dfkd.comparison.efficiency import cost_until, reached
from dfkd.comparison.results import RunResult

Make = Callable[..., RunResult]


def test_the_first_epoch_that_is_good_enough_counts(result: Make) -> None:
    good = result("ours", 0, 0.7, first=0.6)
    costs = cost_until(good, 0.6)
    assert costs == {"synthesis_macs": 250.0, "macs": 500.0, "synthesis_seconds": 0.5, "seconds": 1.5}
    late = cost_until(good, 0.65)
    assert late is not None and late["macs"] == 1000.0
    assert cost_until(good, 0.71) is None


def test_runs_that_never_reach_it_are_the_costliest(result: Make) -> None:
    runs = [result("ours", seed, score) for seed, score in enumerate((0.7, 0.7, 0.2))]
    found = reached(runs, [], {0: 0.7}, 0.9)
    assert (found.runs, found.reached, found.median["macs"]) == (3, 2, 1000.0)
    rarely = reached([*runs, result("ours", 3, 0.1), result("ours", 4, 0.1)], [], {0: 0.7}, 0.9)
    assert math.isinf(rarely.median["macs"])


def test_a_ratio_compares_pairs_that_both_reached_it(result: Make) -> None:
    ours = [result("ours", seed, 0.7, macs=1000.0) for seed in (0, 1, 2)]
    theirs = [result("theirs", seed, 0.7, macs=2000.0) for seed in (0, 1)] + [result("theirs", 2, 0.1)]
    found = reached(theirs, ours, {0: 0.7}, 0.9)
    assert found.pairs == 2 and found.of_pairs == 3 and found.ratio is not None
    assert found.ratio[0] == pytest.approx(0.5)  # ours needs half of what theirs does
    assert reached(theirs[:1], ours, {0: 0.7}, 0.9).ratio is None


def test_every_teacher_has_its_own_target(result: Make) -> None:
    runs = [result("ours", 0, 0.7, teacher=0), result("ours", 0, 0.7, teacher=1)]
    assert reached(runs, [], {0: 0.7, 1: 0.9}, 0.9).reached == 1

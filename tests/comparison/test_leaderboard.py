from __future__ import annotations

from collections.abc import Callable

import pytest
from scipy import stats

from dfkd.comparison.leaderboard import ceiling_scores, make_leaderboard
from dfkd.comparison.results import RunResult
from dfkd.comparison.statistics import holm
from dfkd.settings.comparison import ComparisonSettings

Make = Callable[..., RunResult]
Settings = Callable[..., ComparisonSettings]
OURS, THEIRS, NOISE = (0.70, 0.72, 0.71), (0.60, 0.66, 0.62), (0.11, 0.10, 0.12)


def results(make: Make, **changes: float) -> list[RunResult]:
    rows = {"noise": NOISE, "ours": OURS, "theirs": THEIRS}
    return [make(row, seed, score, **changes) for row, scores in rows.items() for seed, score in enumerate(scores)]


def test_a_line_has_last_epoch_best_epoch_ratio_and_agreement(settings: Settings, result: Make) -> None:
    lines = {line.row: line for line in make_leaderboard(settings(), results(result))}
    ours = lines["ours"]
    assert (ours.title, ours.score.n) == ("Ours", 3)
    assert ours.score.mean == pytest.approx(0.71)
    assert ours.best_epoch.mean == pytest.approx(0.73)
    assert ours.ratio.mean == pytest.approx(0.71 / 0.8)
    assert ours.agreement.mean == pytest.approx(0.72)
    assert ours.warm_up_share == pytest.approx(0.1)
    assert ours.peak_memory == {"process": 3e6}


def test_lines_come_in_the_order_of_the_rows(settings: Settings, result: Make) -> None:
    both = results(result) + results(result, fraction=0.5)
    lines = make_leaderboard(settings(fractions=(1.0, 0.5)), both)
    assert [(line.fraction, line.row) for line in lines] == [
        (fraction, row) for fraction in (1.0, 0.5) for row in ("ours", "theirs", "noise")
    ]


def test_differences_are_paired_and_corrected_over_the_table(settings: Settings, result: Make) -> None:
    lines = {line.row: line for line in make_leaderboard(settings(), results(result))}
    assert lines["ours"].difference is None and lines["ours"].p_value is None
    difference = lines["theirs"].difference
    assert difference is not None
    assert difference.interval.mean == pytest.approx(sum(THEIRS) / 3 - sum(OURS) / 3)
    raw = [stats.ttest_rel(row, OURS).pvalue for row in (THEIRS, NOISE)]
    assert [lines[row].p_value for row in ("theirs", "noise")] == pytest.approx(holm(raw))


def test_only_seeds_that_both_have_are_compared(settings: Settings, result: Make) -> None:
    found = [each for each in results(result) if (each.run.row, each.run.seed) != ("theirs", 1)]
    line = next(line for line in make_leaderboard(settings(), found) if line.row == "theirs")
    assert line.difference is not None and line.difference.interval.n == 2
    assert line.difference.interval.mean == pytest.approx((0.60 - 0.70 + 0.62 - 0.71) / 2)


def test_tuned_is_compared_with_tuned(settings: Settings, result: Make) -> None:
    found = results(result) + [result("ours", seed, 0.9, column="tuned") for seed in range(3)]
    found += [result("theirs", seed, 0.8, column="tuned") for seed in range(3)]
    lines = {(line.row, line.column): line for line in make_leaderboard(settings(), found)}
    tuned = lines["theirs", "tuned"].difference
    assert tuned is not None and tuned.interval.mean == pytest.approx(-0.1)
    assert lines["theirs", "preset"].difference is not None


def test_failed_and_collapsed_runs_are_named_and_failed_ones_have_no_score(settings: Settings, result: Make) -> None:
    found = [each for each in results(result) if each.run.row != "noise"]
    found += [result("noise", 0, 0.1), result("noise", 1, 0.0, status="failed", reason="loss is nan", test={})]
    line = next(line for line in make_leaderboard(settings(), found) if line.row == "noise")
    assert line.score.n == 1
    assert line.collapsed == ("teacher 0, seed 0",)
    assert line.failed == ("teacher 0, seed 1: loss is nan",)


def test_the_ceiling_is_its_last_epoch_by_teacher(settings: Settings, result: Make) -> None:
    found = [result("ours", seed, score, teacher=teacher) for teacher, seed, score in ((0, 0, 0.8), (0, 1, 0.9))]
    found += [result("theirs", 0, 0.5, teacher=1)]
    assert ceiling_scores(settings(ceiling="ours"), found) == pytest.approx({0: 0.85, 1: 0.85})
    assert ceiling_scores(settings(), found) == {}

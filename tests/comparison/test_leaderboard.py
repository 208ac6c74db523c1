from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
from scipy import stats

from dfkd.comparison.leaderboard import ceiling_scores, make_leaderboard
from dfkd.comparison.results import RunResult
from dfkd.comparison.statistics import holm
from dfkd.comparison.table_file import parquet
from dfkd.comparison.tables import full_markdown
from dfkd.settings.comparison import ComparisonSettings, RowSettings
from dfkd.settings.experiment import DatasetSettings
from dfkd.settings.objectives import TaskObjective, TransferObjective
from dfkd.settings.tasks import DepthSettings, FewShotSettings
from dfkd.settings.tasks.dense import AnnotatedImagesSettings

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


def test_transfer_scores_are_compared_like_the_score(settings: Settings, result: Make) -> None:
    by = {"few": TransferObjective(by=FewShotSettings(shots=(5,), dataset=DatasetSettings(name="digits")))}
    rows = {"ours": (0.5, 0.6, 0.7), "theirs": (0.4, 0.49, 0.62), "noise": (0.5, 0.61, 0.69)}
    results = [
        result(row, seed, 0.5 + 0.01 * seed, transfer={"few": value})
        for row, values in rows.items()
        for seed, value in enumerate(values)
    ]
    ours, theirs, noise = (line.transfer["few"] for line in make_leaderboard(settings(transfer=by), results))
    assert ours.score.mean == pytest.approx(0.6) and ours.difference is None and ours.p_value is None
    assert theirs.difference is not None and noise.difference is not None
    assert theirs.difference.interval.mean == pytest.approx(-29 / 300)
    assert theirs.p_value == pytest.approx(2 * theirs.difference.p_value)  # the smaller of two
    assert noise.p_value == pytest.approx(noise.difference.p_value)
    text = full_markdown(settings(transfer=by), make_leaderboard(settings(transfer=by), results))
    assert "Transfer, `few`: few shot, 5_shot, on digits, validation split." in text
    assert "| Theirs | preset | 3 | 50.33 +- " in text and " % | -9.67 [" in text


@pytest.mark.parametrize(("gain", "blind"), [(0.03, True), (0.2, False)])
def test_a_task_that_hardly_knows_a_student_from_an_untrained_one_is_blind(
    settings: Settings, result: Make, gain: float, blind: bool
) -> None:
    task = FewShotSettings(shots=(5,), classes=(25, 49), dataset=DatasetSettings(name="digits"))
    methods = {"ours": RowSettings(), "theirs": RowSettings(), "bound": RowSettings(student="untrained")}
    made = settings(methods=methods, ceiling="theirs", transfer={"few": TransferObjective(by=task)})
    bound = (0.30, 0.32, 0.28)
    rows = {
        "ours": (0.5, 0.6, 0.7),
        "bound": bound,
        "theirs": [b + gain + d for b, d in zip(bound, (0, 0.02, -0.02), strict=True)],
    }
    results = [
        result(row, seed, 0.5, transfer={"few": value}) for row, each in rows.items() for seed, value in enumerate(each)
    ]
    lines = make_leaderboard(made, results)
    assert all(line.transfer["few"].blind is blind for line in lines)
    assert (lines[1].transfer["few"].difference is None) is blind
    text = full_markdown(made, lines)
    assert "on digits, classes 26 to 50, validation split." in text and ("Blind: random" in text) is blind


def test_a_task_is_blind_at_every_budget_and_where_nothing_differs_at_all(settings: Settings, result: Make) -> None:
    task = FewShotSettings(shots=(5,), dataset=DatasetSettings(name="digits"))
    methods = {"ours": RowSettings(), "theirs": RowSettings(), "bound": RowSettings(student="untrained")}
    options = {"methods": methods, "ceiling": "theirs", "transfer": {"few": TransferObjective(by=task)}}
    made = settings(fractions=(1.0, 0.5), **options)

    def runs(seeds: int) -> list[RunResult]:
        rows = [("ours", 1.0), ("theirs", 1.0), ("bound", 1.0), ("ours", 0.5), ("theirs", 0.5)]
        return [
            result(row, seed, 0.5, fraction=share, transfer={"few": 0.1})
            for row, share in rows
            for seed in range(seeds)
        ]

    assert all(line.transfer["few"].blind for line in make_leaderboard(made, runs(3)))
    assert not any(line.transfer["few"].blind for line in make_leaderboard(made, runs(2)))  # nobody knows


def test_a_difference_of_fewer_pairs_than_runs_says_so(settings: Settings, result: Make) -> None:
    results = [result("ours", seed, 0.7) for seed in (0, 1)] + [result("theirs", seed, 0.6) for seed in (0, 1, 2)]
    text = full_markdown(settings(), make_leaderboard(settings(), results))
    assert "-10.00 [-10.00, -10.00] (2 pairs)" in text


def test_a_student_that_was_not_distilled_has_no_cost_and_no_curve(settings: Settings, result: Make) -> None:
    made = settings(methods={"ours": RowSettings(), "bound": RowSettings(student="untrained")}, ceiling="ours")
    bound = dataclasses.replace(result("bound", 0, 0.1), curve={}, macs={}, seconds={"total": 0.0, "wall": 1.0})
    ours, untrained = make_leaderboard(made, [result("ours", 0, 0.6), bound])
    assert ours.reached and not untrained.reached and untrained.difference is not None
    assert "First places, preset: at 1 of the budget Ours." in full_markdown(made, [ours, untrained])


def test_a_transfer_score_that_is_an_error_is_told_in_its_own_unit(settings: Settings, result: Make) -> None:
    depth = DepthSettings(dataset=AnnotatedImagesSettings(name="nyuv2", path="rooms"))
    by = {"depth": TransferObjective(by=depth, score="rmse", split="test")}
    rows = {"ours": (1.0, 1.5), "theirs": (2.0, 2.25)}
    results = [
        result(row, seed, 0.5, transfer={"depth": value})
        for row, values in rows.items()
        for seed, value in enumerate(values)
    ]
    text = full_markdown(settings(transfer=by), make_leaderboard(settings(transfer=by), results))
    assert "Transfer, `depth`: depth, rmse, on nyuv2, test split; less is better." in text
    assert (
        "| Ours | preset | 2 | 1.25 +- 3.177 |" in text and "| Theirs | preset | 2 | 2.125 +- 1.588 | 0.875 [" in text
    )


def test_a_task_on_the_comparisons_own_images_stands_beside_its_teachers(settings: Settings, result: Make) -> None:
    columns = {"cka": TaskObjective(task="representation"), "sure": TaskObjective(task="calibration")}
    columns["robust"] = TaskObjective(task="corruption")
    rows = {"ours": (0.9, 0.04, 0.5), "theirs": (0.8, 0.02, 0.6)}
    results = [
        result(
            row, seed, 0.5, transfer=dict(zip(columns, values, strict=True)),
            teacher_transfer={"sure": 0.0125, "robust": 0.7},
        )
        for row, values in rows.items()
        for seed in (0, 1)
    ]  # fmt: skip
    made = settings(transfer=columns)
    lines = make_leaderboard(made, results)
    assert math.isnan(lines[0].transfer["cka"].teacher) and lines[1].transfer["sure"].teacher == 0.0125
    text = full_markdown(made, lines)
    assert "\n`cka`: representation, cka, on the test split.\n" in text  # nothing of a teacher, nor which way
    assert "`sure`: calibration, ece, on the test split; less is better. Teacher: 0.0125 (mean)." in text
    assert "`robust`: corruption, top1, on the test split. Teacher: 70.00 % (mean)." in text
    assert "| Theirs | preset | 2 | 0.8 +- 0 | -0.1 [-0.1, -0.1] |" in text  # CKA is no share
    assert "| Theirs | preset | 2 | 0.02 +- 0 | -0.02 [-0.02, -0.02] |" in text
    assert "| Theirs | preset | 2 | 60.00 +- 0.00 % | +10.00 [+10.00, +10.00] |" in text
    rows_of_file = pq.read_table(io.BytesIO(parquet(lines))).to_pylist()
    assert rows_of_file[0]["transfer/sure_teacher"] == 0.0125 and "transfer/cka_teacher" not in rows_of_file[0]


@pytest.mark.parametrize(("task", "blind"), [("representation", True), ("calibration", False)])
def test_a_score_that_an_untrained_student_may_win_is_never_blind(
    settings: Settings, result: Make, task: Any, blind: bool
) -> None:
    methods = {"ours": RowSettings(), "theirs": RowSettings(), "bound": RowSettings(student="untrained")}
    made = settings(methods=methods, ceiling="theirs", transfer={"own": TaskObjective(task=task)})
    results = [result(row, seed, 0.5, transfer={"own": 0.02}) for row in methods for seed in range(3)]
    lines = make_leaderboard(made, results)
    assert [line.transfer["own"].blind for line in lines] == [blind] * 3
    assert (lines[1].transfer["own"].difference is None) is blind


def test_bounds_stand_beside_the_largest_budget_and_are_not_blamed(settings: Settings, result: Make) -> None:
    methods = {"ours": RowSettings(), "noise": RowSettings(), "bound": RowSettings(student="untrained")}
    made = settings(methods=methods, fractions=(0.5, 0.25), floor="noise")
    bound = dataclasses.replace(result("bound", 0, 0.1), curve={}, macs={})
    known = [result("ours", 0, 0.6, fraction=0.5), result("noise", 0, 0.3, fraction=0.5), bound]
    lines = make_leaderboard(made, known)
    assert [(line.row, line.fraction) for line in lines] == [("ours", 0.5), ("noise", 0.5), ("bound", 0.5)]
    text = full_markdown(made, lines)
    assert "Collapsed" not in text and "Not above the floor" not in text

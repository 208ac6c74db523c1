from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from dfkd.cluster.measured_run import Measured
from dfkd.cluster.worker import Report
from dfkd.comparison.cost import PartCosts
from dfkd.comparison.results import ResultsFolder, RunResult
from dfkd.config.comparison import load_comparison
from dfkd.data import load_dataset
from dfkd.jobs.compare import forget_failed, missing_runs
from dfkd.jobs.comparing import Comparing, KnownCosts, cost_key
from dfkd.jobs.comparison_checks import check_data, check_networks
from dfkd.jobs.comparison_options import ComparisonOptions
from dfkd.jobs.comparison_runs import PlannedRun, curve_of, result_of, seconds_of
from dfkd.jobs.rehearsal import untrained_teacher
from dfkd.settings.comparison import RunName
from dfkd.settings.experiment import DatasetSettings, ExperimentSettings

SMOKE = Path(__file__).parents[2] / "benchmarks" / "comparisons" / "smoke.yaml"
Settings = Callable[..., ExperimentSettings]
PARTS = PartCosts(warm_up_round=7, round=100, sample=1, step=10)


def reports() -> list[Report]:
    """One epoch of warm-up, two of student steps."""
    return [
        {
            "epoch": epoch,
            "time/synthesis_seconds": 2.0,
            "time/wall_seconds": 10.0 * (epoch + 1),
            "val/accuracy/top1": 0.1 * epoch,
            "test/accuracy/top1": 0.2 * epoch,
        }
        | ({"time/distillation_seconds": 3.0} if epoch else {})
        for epoch in range(3)
    ]


def test_a_curve_adds_up_what_epochs_cost(tiny_settings: Settings) -> None:
    curve = curve_of(reports(), tiny_settings(), PARTS, "accuracy/top1")
    assert curve["epoch"] == [0, 1, 2]
    assert curve["synthesis_macs"] == [14, 14 + 102, 14 + 204]  # two warm-up rounds, then a round and two samples
    assert curve["macs"] == [14, 14 + 122, 14 + 244]
    assert curve["synthesis_seconds"] == [2, 4, 6] and curve["seconds"] == [2, 7, 12]
    assert curve["validation"] == [0, 0.1, 0.2] and curve["test"] == [0, 0.2, 0.4]


def test_without_warm_up_what_comes_once_comes_with_the_first_epoch(tiny_settings: Settings) -> None:
    parts = dataclasses.replace(PARTS, start=1000)
    settings = tiny_settings(warm_up_epochs=0)
    without = [report | {"epoch": report["epoch"] - 1} for report in reports()[1:]]
    assert curve_of(without, settings, parts, "accuracy/top1")["macs"] == [1122, 1244]


def test_seconds_are_split_and_evaluation_stands_apart() -> None:
    assert seconds_of(reports()) == {"synthesis": 6.0, "distillation": 6.0, "total": 12.0, "wall": 30.0}


def test_seeds_and_places_do_not_change_what_parts_cost(tiny_settings: Settings) -> None:
    settings = tiny_settings(seed=0)
    assert cost_key(settings) == cost_key(tiny_settings(seed=3))
    assert cost_key(settings) != cost_key(tiny_settings(batch_size=20))
    other_rate = tiny_settings(learning_rate=0.5)
    assert cost_key(settings) != cost_key(other_rate)
    assert cost_key(settings, coarse=True) == cost_key(other_rate, coarse=True)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("student.architecture=lenet5", r"experiment.student.architecture: 'lenet5' does not take 'digits'.*1x8x8"),
        ("teacher.architecture=lenet5", r"experiment.teacher.architecture: 'lenet5' does not take"),
        ("pairs={odd: {student.architecture: lenet5}}", r"pairs.odd.student.architecture: 'lenet5' does not take"),
    ],
)
def test_a_pair_whose_networks_do_not_fit_the_images_is_refused(override: str, message: str) -> None:
    data = load_dataset(DatasetSettings(name="digits", title="digits"))
    check_networks(load_comparison(SMOKE), data)
    with pytest.raises(ValueError, match=message):
        check_networks(load_comparison(SMOKE, [override]), data)


def test_a_result_has_the_columns_scores_and_beside_them_the_teachers(tiny_settings: Settings) -> None:
    comparison = load_comparison(SMOKE)
    name = next(run for run in comparison.runs() if run.row == "untrained")
    known = Measured(reports=[reports()[0] | {"further/sure": 0.1, "further_teacher/sure": 0.2}])
    teacher = untrained_teacher("digits_student", load_dataset(DatasetSettings(name="digits")))
    comparing = cast(
        Comparing,
        SimpleNamespace(
            comparison=comparison, teachers={(name.pair, name.teacher): teacher}, data=SimpleNamespace(num_classes=10)
        ),
    )
    run = PlannedRun(name=name, unscaled=tiny_settings(), scaled=None, costs=KnownCosts(), student="untrained")
    result = result_of(comparing, run, known)
    assert (result.transfer, result.teacher_transfer) == ({"sure": 0.1}, {"sure": 0.2})
    assert result.test == {"accuracy/top1": 0.0}


def test_a_comparison_needs_labelled_images_to_judge_by() -> None:
    data = load_dataset(DatasetSettings(name="digits"))
    comparison = load_comparison(SMOKE)
    check_data(data, comparison)
    with pytest.raises(ValueError, match="a comparison needs labelled validation images"):
        check_data(dataclasses.replace(data, validation=None), comparison)
    with pytest.raises(ValueError, match="methods.from_labels: learns from labelled training images"):
        check_data(dataclasses.replace(data, train=None), comparison)


def test_what_ended_is_not_run_again_and_what_failed_only_if_wanted(tmp_path: Path) -> None:
    comparison, folder = load_comparison(SMOKE), ResultsFolder(tmp_path)
    options = ComparisonOptions(results=tmp_path, columns=("preset",))
    everything = missing_runs(comparison, folder, options)
    assert {run.column for run in everything} == {"preset"} and len(everything) == 12
    names: list[RunName] = everything[:2]
    for name, status in zip(names, ("complete", "failed"), strict=True):
        folder.write(RunResult(run=name, key="0", status=status))
    assert missing_runs(comparison, folder, options) == everything[2:]
    retried = dataclasses.replace(options, retry_failed=True)
    assert missing_runs(comparison, folder, retried) == everything[1:]
    assert folder.has(names[1])  # to ask what is missing takes nothing away
    forget_failed(folder)
    assert [result.run for result in folder.results()] == names[:1]
    only = dataclasses.replace(options, only=("random_noise",))
    assert {run.row for run in missing_runs(comparison, folder, only)} == {"random_noise"}

"""The plan of a comparison and of its tuning: what is missing, how long it is, and nothing is begun."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dfkd.cluster.pool import Task, run_here
from dfkd.comparison.budget import lengths_of, scale_to_budget
from dfkd.comparison.cost import PartCosts
from dfkd.comparison.results import ResultsFolder, RunResult
from dfkd.config import SettingsError
from dfkd.config.comparison import Comparison
from dfkd.jobs import comparing, comparison_seconds
from dfkd.jobs.comparing import cost_key
from dfkd.jobs.comparison_dry_run import show_comparison_plan, show_tuning_plan
from dfkd.jobs.comparison_options import ComparisonOptions
from dfkd.jobs.comparison_seconds import TimedKind, time_lines
from dfkd.jobs.console import Console
from dfkd.jobs.load_comparison import prepare_comparison
from dfkd.settings.comparison import WARM_UP_SHARE

SMOKE = str(Path(__file__).parents[2] / "benchmarks" / "comparisons" / "smoke.yaml")
NOBODY = "http://127.0.0.1:9"  # where no MLflow answers
DISTILLED = ("cae", "random_noise")
#: Of every row: in whole numbers, for schedules and seconds by hand.
MACS = PartCosts(warm_up_round=1e7, warm_up_round_step=0, round=1e8, round_step=0, sample=0, step=1e8)
SECONDS = PartCosts(round=1.0, sample=0.25, step=0.75)


@pytest.fixture(autouse=True)
def nothing_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts take whole seconds, and judging a student takes 2."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(comparison_seconds, "time_parts", lambda settings, materials: SECONDS)
    monkeypatch.setattr(comparison_seconds, "time_judging", lambda run, settings, materials: 2.0)


@pytest.fixture
def options(tmp_path: Path) -> ComparisonOptions:
    return ComparisonOptions(
        results=tmp_path / "results", home=str(tmp_path / "home"), tracking_uri=NOBODY, columns=("preset",), at_once=1
    )


def prepared(options: ComparisonOptions, *overrides: str, to_tune: bool = False) -> Comparison:
    return prepare_comparison(SMOKE, ["device=cpu", *overrides], options, to_tune=to_tune)


def plan(comparison: Comparison, options: ComparisonOptions, *, to_tune: bool = False) -> dict[str, list[str]]:
    """Return the plan's lines by their names, and all that was said."""
    said = io.StringIO()
    try:
        (show_tuning_plan if to_tune else show_comparison_plan)(comparison, options, Console(said))
    finally:
        text = said.getvalue()
    return lines_of(text)


def lines_of(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"text": [text]}
    name = ""
    for line in text.splitlines():
        if match := re.fullmatch(r"  (\S*) +(.*)", line):
            name = match[1] or name
            found.setdefault(name, []).append(match[2])
    return found


def begun(comparison: Comparison, options: ComparisonOptions, statuses: Sequence[str] = ()) -> ResultsFolder:
    """Return the folder of a comparison whose first runs ended so, and whose parts are counted."""
    folder = ResultsFolder(options.results)
    folder.claim(comparison)
    runs = list(comparison.runs())
    distilled = [comparison.experiment(run) for run in runs if run.row in DISTILLED and run.column == "preset"]
    keys = {cost_key(each) for each in distilled} | {cost_key(each, coarse=True) for each in distilled}
    folder.note_costs({key: {"macs": dataclasses.asdict(MACS)} for key in keys})
    preset = [run for run in runs if run.column == "preset"]
    for run, status in zip(preset, statuses, strict=False):
        folder.write(RunResult(run=run, key=comparison.key(run), status=status))
    return folder


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_comparisons_plan_says_what_is_run_and_starts_nothing(options: ComparisonOptions, tmp_path: Path) -> None:
    import ray

    found = plan(prepared(options), options)
    assert found["text"][0].count("plan of the comparison 'smoke'; nothing was started") == 1
    assert found["rows"] == [
        "cae: CAE-DFKD (our reading)",
        "random_noise: KD on random noise",
        "untrained: random initialisation, outside the budget",
        "from_labels: trained on labels, outside the budget",
    ]
    assert (found["columns"], found["seeds"]) == (["preset"], ["0, 1"])
    assert found["pairs"] == ["teacher digits_teacher, student digits_student"]
    assert found["budget"] == ["2e+10 multiply-accumulates a run, times 1, 0.5"]
    assert found["score"] == ["accuracy, all against 'cae'; transfer tasks: similar, sure, ten_shot"]
    assert found["runs"] == ["12 in all, 0 are there, 12 to do; 1 at a time here, each with a CPU"]
    (teacher,) = found["teachers"]
    assert teacher.startswith("to be trained for 3 epochs and registered as models:/digits-teacher (digits_teacher, ")
    assert ", under training seed 0, unless registered already" in teacher
    assert found["MLflow"] == [f"experiment 'smoke' at {NOBODY}"]
    titles = [line.partition(":")[0] for line in found["schedules"]]
    assert titles == [
        *("cae.preset.x1, 2 runs", "random_noise.preset.x1, 2 runs"),
        *("untrained.preset.x1, 2 runs", "from_labels.preset.x1, 2 runs"),
        *("cae.preset.x0.5, 2 runs", "random_noise.preset.x0.5, 2 runs"),
    ]
    for line, budget in ((found["schedules"][0], 2e10), (found["schedules"][4], 1e10)):
        match = re.search(r"; (\S+) multiply-accumulates, (\d+)% of them before the student learns; ", line)
        assert match is not None, line
        assert 0.8 * budget < float(match[1]) <= budget
        assert int(match[2]) <= 100 * WARM_UP_SHARE
    assert not ray.is_initialized()
    assert list((tmp_path / "home").iterdir()) == [] and not options.results.exists()


def test_a_comparison_that_goes_on_plans_what_is_missing_and_counts_nothing_again(options: ComparisonOptions) -> None:
    comparison = prepared(options)
    begun(comparison, options, ("complete", "failed"))
    before = content(options.results)
    found = plan(comparison, options)
    assert found["runs"][0].startswith("12 in all, 2 are there (1 of them failed), 10 to do; ")
    assert [line.partition(":")[0] for line in found["schedules"]][:2] == [
        "untrained.preset.x1, 2 runs",
        "from_labels.preset.x1, 2 runs",
    ]
    again = plan(comparison, dataclasses.replace(options, retry_failed=True))
    assert again["runs"][0].startswith("12 in all, 1 are there, 11 to do (1 of them again, after they failed); ")
    assert "] counting what" not in found["text"][0] + again["text"][0]
    assert content(options.results) == before


def test_a_schedule_is_that_of_the_budget_rule_and_its_time_that_of_its_parts(options: ComparisonOptions) -> None:
    options = dataclasses.replace(options, only=("cae",))
    comparison = prepared(options, "fractions=[1.0]", "seeds=[0]")
    begun(comparison, options)
    found = plan(comparison, options)
    (name,) = [run for run in comparison.runs() if run.row == "cae" and run.column == "preset"]
    scaled = scale_to_budget(comparison.experiment(name), MACS, 2e10)
    lengths, epochs = lengths_of(scaled.settings), scaled.settings.total_epochs
    assert lengths.warm_up_epochs > 0
    assert found["schedules"] == [
        f"cae.preset.x1, 1 run: epochs: {lengths.warm_up_epochs} of warm-up, {lengths.epochs} of "
        f"{lengths.steps_per_epoch} steps of 32 images, each after 1 round of 2 steps of synthesis; "
        f"{scaled.cost.total:.3g} multiply-accumulates, {scaled.cost.warm_up_share:.0%} of them before the student "
        f"learns; {'; '.join(scaled.notes)}"
    ]
    seconds = lengths.epochs * (1 + lengths.steps_per_epoch) + epochs * 2
    said = found["time"][0]
    minutes = re.match(
        r"about (\d+)m (\d+)s for 1 run, 1 at a time, of (\d+m \d+s) each: their parts timed here and now", said
    )
    assert minutes is not None and 60 * int(minutes[1]) + int(minutes[2]) == seconds, said
    assert found["time"][1] == (
        "besides: the teachers that are to be trained, transfer tasks, counting parts and the start of Ray"
    )


def test_parts_that_a_budget_in_seconds_has_timed_are_not_timed_again(
    options: ComparisonOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dataclasses.replace(options, only=("random_noise",), at_once=None)
    comparison = prepared(options, "budget={seconds: 60}", "fractions=[1.0]")
    folder = begun(comparison, options)
    costs = {"macs": dataclasses.asdict(MACS), "seconds": dataclasses.asdict(SECONDS)}
    folder.note_costs({key: costs for key in folder.costs()})
    monkeypatch.setattr(comparison_seconds, "time_parts", None)
    found = plan(comparison, options)
    assert found["budget"] == ["60 seconds a run, times 1"]
    assert found["runs"][0].endswith("2 to do; 1 at a time here, each with a CPU")  # which budgets in seconds want
    match = re.search(r"epochs: 0 of warm-up, (\d+) of (\d+) steps of 32 images; (\d+) seconds;", found["schedules"][0])
    assert match is not None, found["schedules"][0]
    epochs, steps, seconds = map(int, match.groups())
    assert epochs * (1 + steps) == seconds <= 60  # a second before the steps, and one a step
    assert "for 2 runs, 1 at a time, " in found["time"][0]


def test_a_budget_that_pays_no_run_stands_in_the_plan_and_ends_it_as_it_ends_the_command(
    options: ComparisonOptions,
) -> None:
    small = prepared(options, "budget.macs=1e6", "fractions=[1.0]")
    begun(small, options)
    said = io.StringIO()
    with pytest.raises(SettingsError) as refused:
        show_comparison_plan(small, options, Console(said))
    assert [problem.partition(":")[0] for problem in refused.value.problems] == [
        "methods.cae (preset)",
        "methods.random_noise (preset)",
    ]
    schedules = lines_of(said.getvalue())["schedules"]
    assert "cae.preset.x1, 2 runs: refused: the budget of 1e+06 does not pay the shortest run" in schedules[0]
    assert "  time " not in said.getvalue()


def test_a_refusal_names_the_pair_that_does_not_fit(options: ComparisonOptions) -> None:
    pairs = "pairs={small: {}, large: {student.architecture: digits_teacher}}"
    options = dataclasses.replace(options, only=("random_noise",))
    comparison = prepared(options, pairs, "fractions=[1.0]", "budget.macs=1e9")
    said = io.StringIO()
    with pytest.raises(SettingsError) as refused:
        show_comparison_plan(comparison, options, Console(said))
    assert [problem.partition(":")[0] for problem in refused.value.problems] == ["methods.random_noise (preset, large)"]
    found = lines_of(said.getvalue())
    assert found["pairs"][1] == "large: teacher digits_teacher, student digits_teacher"
    assert "epochs: " in found["schedules"][0] and "refused: " in found["schedules"][1]
    assert [line.partition(":")[0] for line in found["teachers"]] == ["small", "large"]


def test_a_row_whose_parts_cannot_be_run_is_one_that_will_fail(
    options: ComparisonOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the command itself, which goes on with the other rows."""

    def refuse(settings: Any, *_: Any) -> None:
        raise ValueError(f"{settings.synthesis.method}: feature maps do not fit")

    monkeypatch.setattr(comparing, "count_macs", refuse)
    options = dataclasses.replace(options, only=("cae",))
    found = plan(prepared(options, "fractions=[1.0]"), options)
    assert "will fail: ValueError: cae: feature maps do not fit" in found["schedules"][0]
    assert "time" not in found


def test_a_tunings_plan_says_what_is_searched_and_how_far_it_is(options: ComparisonOptions) -> None:
    comparison = prepared(options, to_tune=True)
    begun(comparison, options)
    before = content(options.results)
    found = plan(comparison, options, to_tune=True)
    assert "plan of the tuning of 'smoke'; nothing was started" in found["text"][0]
    assert found["rows"] == ["cae: CAE-DFKD (our reading)"]
    assert found["trials"][0].startswith("2 a row: its own values, then tpe")
    assert found["searched"] == ["cae: distillation.learning_rate: 0.05 to 0.4, log uniform (first 0.1)"]
    assert (found["seeds"], found["judged"]) == (["10"], ["by  val_accuracy (maximize)"])
    assert found["runs"][0].startswith("0 of 2 trials have ended; 2 runs to do, one a seed of each trial; ")
    assert found["schedules"][0].startswith("cae.tuned.x1, 2 runs: epochs: ")
    assert "under training seed 1, " in found["teachers"][0]
    assert content(options.results) == before


def test_trials_of_other_settings_end_the_plan_of_a_tuning_as_they_end_the_tuning(options: ComparisonOptions) -> None:
    comparison = prepared(options, to_tune=True)
    begun(comparison, options).note_tuned({"cae": {"params": None, "key": "another", "trials": []}})
    with pytest.raises(ValueError, match="--tune: 'cae' was tuned under other settings"):
        plan(comparison, options, to_tune=True)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("student.architecture=lenet5", "experiment.student.architecture: 'lenet5' does not take 'digits'"),
        ("teacher={weights: /nowhere/teacher.safetensors}", "/nowhere/teacher.safetensors"),
        ("transfer.ten_shot.by.dataset={name: image_folder, path: /nowhere}", "transfer.ten_shot.by: .*/nowhere"),
    ],
)
def test_what_would_end_a_comparison_ends_its_plan(options: ComparisonOptions, override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(prepared(options, override), options)


def test_places_that_cannot_be_written_end_the_plan(options: ComparisonOptions, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    comparison = prepared(options)
    with pytest.raises(OSError, match="--storage: expected a folder or URI that can be written"):
        plan(comparison, dataclasses.replace(options, storage=str(tmp_path / "file" / "new")))
    with pytest.raises(OSError, match="file"):
        plan(comparison, dataclasses.replace(options, results=tmp_path / "file" / "new"))


def test_runs_share_the_places_that_there_are() -> None:
    timed = [TimedKind(count=3, seconds=10.0), TimedKind(count=1, seconds=50.0)]  # 20 s on average
    ((_, alone),) = time_lines(timed, at_once=None)
    assert alone.startswith("about 80 s for 4 runs, one after the other, of 10 s to 50 s each: ")
    ((_, two),) = time_lines(timed, at_once=2)
    assert two.startswith("about 40 s for 4 runs, 2 at a time, ")
    assert time_lines([], at_once=2) == [("time", "unknown: no part could be timed")]


def test_a_task_in_this_process_ends_as_on_a_cluster() -> None:
    def fails(_: Any) -> None:
        raise ValueError("in two\nlines")

    good, bad = run_here([Task(name=1, function=abs, arguments=(-3,)), Task(name=2, function=fails, arguments=(0,))])
    assert (good.name, good.value, good.error) == (1, 3, None)
    assert (bad.name, bad.value, bad.error) == (2, None, "ValueError: in two lines")

"""The runs of a comparison: which are missing, what each is to do, and what it gave."""

from __future__ import annotations

import base64
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.measured_run import TRANSFER_KEY, WALL_KEY, Measured, run_measured
from dfkd.cluster.pool import Task
from dfkd.cluster.reference_run import run_reference
from dfkd.cluster.worker import Report
from dfkd.comparison.budget import RunCost, ScaledRun, cost_of, lengths_of
from dfkd.comparison.cost import PartCosts
from dfkd.comparison.results import COMPLETE, FAILED, Curve, RunResult
from dfkd.config import SettingsError
from dfkd.config.comparison import Comparison
from dfkd.jobs.comparing import Comparing, KnownCosts, cost_key, find_costs, scale
from dfkd.jobs.console import duration, percent
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.students import count_parameters
from dfkd.jobs.time_left import seconds_left
from dfkd.settings.comparison import SCORES, UNDISTILLED, RunName
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import shareable
from dfkd.tasks.further_objectives import PREFIX, TEACHER_PREFIX

Hear = Callable[[RunResult, Sequence[Report], bytes | None], None]  # a result, its epochs' reports, its picture


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run that is still to do.

    Attributes:
        name: which.
        unscaled: its settings before scaling.
        scaled: and after; None where its parts could not even be counted, it is refused, or is outside the budget.
        costs: of its parts.
        student: "distilled", or what it is instead.
        refusal: why its budget does not pay it; None where it does.
    """

    name: RunName
    unscaled: ExperimentSettings
    scaled: ScaledRun | None
    costs: KnownCosts
    student: str = "distilled"
    refusal: str | None = None

    @property
    def is_distilled(self) -> bool:
        """Whether it is a run of a method."""
        return self.student == "distilled"


def plan_runs(comparing: Comparing, names: Sequence[RunName]) -> list[PlannedRun]:
    """Return these runs, scaled to their budgets.

    Raises:
        SettingsError: a budget does not pay one epoch of a row; every such row is named.
    """
    planned = scale_runs(comparing, names)
    check_budgets(comparing.comparison, planned)
    return planned


def scale_runs(comparing: Comparing, names: Sequence[RunName]) -> list[PlannedRun]:
    """Return these runs, scaled to their budgets, with a refusal where one does not pay."""
    comparison = comparing.comparison
    settings = {name: comparison.experiment(name) for name in names}
    students = {name: comparison.settings.methods[name.row].student for name in names}
    counted = {
        cost_key(settings[name]): (settings[name], (name.pair, name.teacher))
        for name in names
        if students[name] == "distilled"
    }
    known = find_costs(comparing, counted)
    planned: list[PlannedRun] = []
    for name in names:
        unscaled, scaled, refusal = settings[name], None, None
        if students[name] != "distilled":
            planned.append(
                PlannedRun(name=name, unscaled=unscaled, scaled=None, costs=KnownCosts(), student=students[name])
            )
            continue
        costs = known[cost_key(unscaled)]
        if costs.error is None:
            try:
                scaled = scale(comparing, unscaled, costs, fraction=name.fraction)
            except ValueError as error:
                refusal = str(error)
        planned.append(PlannedRun(name=name, unscaled=unscaled, scaled=scaled, costs=costs, refusal=refusal))
    return planned


def check_budgets(comparison: Comparison, planned: Sequence[PlannedRun]) -> None:
    """Raise SettingsError if a budget does not pay one epoch of a row; every such row is named, once a reason."""
    problems: dict[str, None] = {}
    for run in planned:
        if run.refusal is not None:
            of = ", ".join(filter(None, (run.name.column, run.name.pair)))
            problems[f"methods.{run.name.row} ({of}): {run.refusal}"] = None
    if problems:
        raise SettingsError(comparison.where, problems)


def execute_runs(comparing: Comparing, planned: Sequence[PlannedRun], hear: Hear) -> None:
    """Run what is planned and write every result as it comes; one that fails does not stop the others."""
    by_name = {run.name: run for run in planned}
    for run in planned:
        if run.is_distilled and run.scaled is None:
            finish(comparing, run, Measured(reports=[], error=run.costs.error), hear)
    tasks = [task_of(comparing, run) for run in planned if run.scaled or not run.is_distilled]
    began, total = comparing.console.seconds, len(tasks)
    for done, finished in enumerate(comparing.run(tasks), start=1):
        run = by_name[finished.name]
        measured = finished.value if finished.error is None else Measured(reports=[], error=finished.error)
        result = finish(comparing, run, measured, hear)
        if result.status == COMPLETE:
            CheckpointStore(run_uri(comparing, run.name)).remove()
        mean = (comparing.console.seconds - began) / done * comparing.at_once
        left = seconds_left(mean_seconds=mean, running=[], to_start=total - done, concurrency=comparing.at_once)
        comparing.console.say(f"{done}/{total} {in_words(comparing, result)}; {duration(left)} left")


def task_of(comparing: Comparing, run: PlannedRun) -> Task[RunName]:
    """Return what the run's process does."""
    materials = comparing.materials(run.unscaled, (run.name.pair, run.name.teacher))
    transfer = comparing.comparison.settings.transfer
    if run.scaled is None:
        arguments: tuple[Any, ...] = run.unscaled, materials, comparing.labelled_images(run.student), transfer
        return Task(name=run.name, function=run_reference, arguments=arguments)
    arguments = run.scaled.settings, materials, run_uri(comparing, run.name), transfer
    return Task(name=run.name, function=run_measured, arguments=arguments)


def run_uri(comparing: Comparing, name: RunName) -> str:
    """Return where a run keeps its checkpoints; other settings have another place."""
    return f"{comparing.storage.rstrip('/')}/{name}-{comparing.comparison.key(name)}"


def finish(comparing: Comparing, run: PlannedRun, measured: Measured, hear: Hear) -> RunResult:
    """Write what a run gave, and tell it to whoever hears."""
    result = result_of(comparing, run, measured)
    picture = None if measured.preview is None else base64.b64decode(measured.preview)
    comparing.folder.write(result)
    hear(result, measured.reports, picture)
    return result


def result_of(comparing: Comparing, run: PlannedRun, measured: Measured) -> RunResult:
    """Return a run's result: for a failed one only what is known without it."""
    name, method = run.name, run.unscaled.synthesis
    teacher = comparing.teachers[name.pair, name.teacher]
    title, prior = UNDISTILLED.get(run.student, (method.TITLE, method.PRIOR))
    made_with = {"commit": commit(), "versions": versions(), "hardware": measured.hardware, "teacher": teacher.hash}
    known = RunResult(
        run=name,
        key=comparing.comparison.key(name),
        status=FAILED,
        reason=measured.error,
        title=title,
        prior=prior,
        num_classes=comparing.data.num_classes,
        settings=shareable(run.scaled.settings if run.scaled else run.unscaled),
        factor=run.scaled.factor if run.scaled else 1.0,
        notes=run.scaled.notes if run.scaled else (),
        made_with=made_with,
    )
    if measured.error is not None:
        return known
    score, last = SCORES[comparing.comparison.settings.score][0], measured.reports[-1]
    complete = dataclasses.replace(
        known,
        status=COMPLETE,
        test=_below("test/", last),
        transfer=_below(PREFIX, last),
        teacher_transfer=_below(TEACHER_PREFIX, last),
        best_epoch={"epoch": last["epoch"], "score": last[f"test/{score}"]},
        seconds=seconds_of(measured.reports),
        peak_memory=measured.peak_memory,
        parameters=measured.parameters | {"teacher": count_parameters(teacher.model)},
    )
    if run.scaled is None:
        return complete
    assert run.costs.macs is not None
    curve = curve_of(measured.reports, run.scaled.settings, run.costs.macs, score)
    best = max(range(len(curve["test"])), key=lambda index: curve["test"][index])
    return dataclasses.replace(
        complete,
        macs=in_parts(cost_of(lengths_of(run.scaled.settings), run.costs.macs)),
        best_epoch={"epoch": curve["epoch"][best], "score": curve["test"][best]},
        curve=curve,
    )


def _below(prefix: str, report: Report) -> dict[str, float]:
    """Return the numbers whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in report.items() if name.startswith(prefix)}


def in_parts(cost: RunCost) -> dict[str, float]:
    """Return a run's cost by part, with the total."""
    parts = {"warm_up": cost.warm_up, "synthesis": cost.synthesis, "distillation": cost.distillation}
    return parts | {"total": cost.total}


def seconds_of(reports: Sequence[Report]) -> dict[str, float]:
    """Return a run's seconds by part, their total, and all that passed with evaluation and checkpoints, tasks apart."""
    parts = {
        part: sum(report.get(f"time/{part}_seconds", 0.0) for report in reports)
        for part in ("synthesis", "distillation")
    }
    transfer = reports[-1].get(TRANSFER_KEY, 0.0)
    known = {"transfer": transfer} if transfer else {}
    return parts | known | {"total": sum(parts.values()), "wall": reports[-1][WALL_KEY] - transfer}


def curve_of(reports: Sequence[Report], settings: ExperimentSettings, parts: PartCosts, score: str) -> Curve:
    """Return cost and score at the end of every epoch, the costs from the run's beginning on."""
    lengths = lengths_of(settings)
    whole = cost_of(lengths, parts)
    warm_up = [(whole.warm_up / max(1, lengths.warm_up_epochs), 0.0)] * lengths.warm_up_epochs
    later = [(whole.synthesis / lengths.epochs, whole.distillation / lengths.epochs)] * lengths.epochs
    if not warm_up:  # what comes once, comes with the first epoch
        later[0] = later[0][0] + whole.warm_up, later[0][1]
    of_epochs = [*warm_up, *later]
    synthesis = list(itertools.accumulate(epoch[0] for epoch in of_epochs))
    everything = list(itertools.accumulate(sum(epoch) for epoch in of_epochs))
    spent = [report.get("time/synthesis_seconds", 0.0) for report in reports]
    busy = [report.get("time/distillation_seconds", 0.0) + own for report, own in zip(reports, spent, strict=True)]
    return {
        "epoch": [report["epoch"] for report in reports],
        "synthesis_macs": [rounded(synthesis[report["epoch"]]) for report in reports],
        "macs": [rounded(everything[report["epoch"]]) for report in reports],
        "synthesis_seconds": list(map(rounded, itertools.accumulate(spent))),
        "seconds": list(map(rounded, itertools.accumulate(busy))),
        "validation": [rounded(report[f"val/{score}"]) for report in reports],
        "test": [rounded(report[f"test/{score}"]) for report in reports],
    }


def rounded(value: float) -> float:
    """Return a number with six digits: a curve is for looking at, and there are hundreds."""
    return float(f"{value:.6g}")


def in_words(comparing: Comparing, result: RunResult) -> str:
    """Return a result as a line of the console."""
    if result.status != COMPLETE:
        return f"{result.run}: failed, {result.reason}"
    score = result.test[SCORES[comparing.comparison.settings.score][0]]
    return f"{result.run}: {percent(score)} in {duration(result.seconds['wall'])}"

"""Fair tuning: every row with ranges gets equally many trials, of equal cost, judged by one objective."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.measured_run import Measured, run_measured
from dfkd.cluster.pool import Task
from dfkd.config import SettingsError
from dfkd.config.comparison import task_identity, without_places
from dfkd.jobs.comparing import Comparing, cost_key, find_costs, scale
from dfkd.jobs.comparison_runs import PlannedRun
from dfkd.jobs.preparation import REPORT_KEYS, check_objective
from dfkd.jobs.probe_cache import obtain_probe_set
from dfkd.search.row_study import RowStudy
from dfkd.search.tuning_ranges import own_point
from dfkd.settings.comparison import RunName
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import settings_key, to_dict
from dfkd.settings.search import Scalar
from dfkd.settings.tuning import TuningSettings
from dfkd.tasks.further_objectives import PREFIX

Point = Mapping[str, Scalar]
TUNING = "tuning"  # name of the task that trials are judged by, if one does


def tune(comparing: Comparing, home: Path) -> None:
    """Search every row's values and write them with all trials, after each; a tuning that goes on repeats none.

    Raises:
        ValueError: trials that are there already were run under other settings.
    """
    comparison, tuning = comparing.comparison, _tuning(comparing)
    studies, tuned, probe = open_studies(comparing), comparing.folder.tuned(), None
    if tuning.transfer is None and tuning.objective.needs == "no real image":
        probe = obtain_probe_set(comparing.teachers[comparison.pairs[0], tuning.teacher], home)
    while waiting := {row: study for row, study in studies.items() if len(study.log) < tuning.trials}:
        points = {row: study.ask() for row, study in waiting.items()}
        for row, value in _values(comparing, points, probe).items():
            study = studies[row]
            study.tell(points[row], value)
            shown = "failed" if value is None else f"{value:.4f}"
            comparing.console.say(f"tuning {row}: trial {len(study.log)}/{tuning.trials}, {tuning.measured_by} {shown}")
            tuned[row] = _entry(comparing, row, study)
        comparing.folder.note_tuned(tuned)


def open_studies(comparing: Comparing) -> dict[str, RowStudy]:
    """Return every row's search, new or as it was left.

    Raises:
        ValueError: the data cannot judge trials, or some were run under other settings.
    """
    comparison, tuning, tuned = comparing.comparison, _tuning(comparing), comparing.folder.tuned()
    if tuning.transfer is None:
        first = settings_at(comparing, comparison.tuned_rows[0], {}, tuning.seeds[0])
        check_objective(tuning.objective, first, comparing.data)
    return {row: _study(comparing, row, tuned.get(row)) for row in comparison.tuned_rows}


def scale_trials(comparing: Comparing, points: Mapping[str, Point]) -> list[PlannedRun]:
    """Return the runs of one trial of each row, one a seed; unscaled where a point's rounds are too long to be paid.

    Args:
        comparing: the comparison.
        points: by row.

    Raises:
        ValueError: parts of a row could not be run; a ``SettingsError`` where not even its own point is paid.
    """
    tuning, pair = _tuning(comparing), comparing.comparison.pairs[0]
    names = [
        RunName(pair=pair, fraction=tuning.fraction, row=row, column="tuned", teacher=tuning.teacher, seed=seed)
        for row in points
        for seed in tuning.seeds
    ]
    runs = {name: settings_at(comparing, name.row, points[name.row], name.seed) for name in names}
    teacher = pair, tuning.teacher
    costs = find_costs(comparing, {cost_key(settings, coarse=True): (settings, teacher) for settings in runs.values()})
    planned = []
    for name, settings in runs.items():
        known, scaled, refusal = costs[cost_key(settings, coarse=True)], None, None
        if known.error is not None:
            raise ValueError(f"methods.{name.row}: {known.error}")
        try:
            scaled = scale(comparing, settings, known, fraction=tuning.fraction)
        except ValueError as error:
            if points[name.row] == own_point(comparing.comparison, name.row):
                raise SettingsError(comparing.comparison.where, [f"methods.{name.row}: {error}"]) from None
            refusal = str(error)
        planned.append(PlannedRun(name=name, unscaled=settings, scaled=scaled, costs=known, refusal=refusal))
    return planned


def _values(comparing: Comparing, points: Mapping[str, Point], probe: Any) -> dict[str, float | None]:
    """Run one trial of each row, under every seed of the tuning; return its mean objective, None if a run failed."""
    tuning = _tuning(comparing)
    found: dict[str, list[float | None]] = {row: [] for row in points}
    tasks = []
    for run in scale_trials(comparing, points):
        if run.scaled is None:
            found[run.name.row].append(None)
            continue
        scaled = run.scaled.settings
        uri = f"{comparing.storage.rstrip('/')}/tuning/{settings_key(scaled)}"
        teacher = run.name.pair, run.name.teacher
        materials = comparing.materials(run.unscaled, teacher, probe=probe, test=False)
        transfer = {TUNING: tuning.transfer} if tuning.transfer is not None else {}
        name = run.name.row, uri
        tasks.append(Task(name=name, function=run_measured, arguments=(scaled, materials, uri, transfer)))
    for finished in comparing.run(tasks):
        measured: Measured | None = finished.value
        good = measured is not None and measured.error is None
        report = measured.reports[-1] if measured is not None and good else {}
        row, uri = finished.name
        key = f"{PREFIX}{TUNING}" if tuning.transfer is not None else REPORT_KEYS[tuning.objective.metric]
        found[row].append(report.get(key))
        CheckpointStore(uri).remove()
    return {row: _mean(values) for row, values in found.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return statistics.fmean(numbers) if len(numbers) == len(values) else None


def settings_at(comparing: Comparing, row: str, point: Point, seed: int) -> ExperimentSettings:
    """Return a row's settings at a point, on the development teacher, before they are scaled to the budget."""
    comparison, tuning = comparing.comparison, _tuning(comparing)
    return comparison.resolve(row, pair=comparison.pairs[0], teacher=tuning.teacher, seed=seed, params=point)


def _study(comparing: Comparing, row: str, known: Mapping[str, Any] | None) -> RowStudy:
    """Return a row's search, new or as it was left."""
    tuning = _tuning(comparing)
    if known is not None and known["key"] != _key(comparing, row):
        raise ValueError(
            f"--tune: '{row}' was tuned under other settings, ranges or budget "
            f"({comparing.folder.path / 'tuned.json'}). Restore them, or take the row out of that file."
        )
    return RowStudy(
        comparing.comparison.settings.methods[row].parameters,
        own_point(comparing.comparison, row),
        direction=tuning.goal,
        sampler=tuning.sampler,
        log=known["trials"] if known is not None else [],
    )


def _entry(comparing: Comparing, row: str, study: RowStudy) -> dict[str, Any]:
    """Return what ``tuned.json`` holds of a row; values only once all of its trials have ended."""
    tuning = _tuning(comparing)
    best = study.best() if len(study.log) >= tuning.trials else None
    return {
        "params": best,
        "key": _key(comparing, row),
        "objective": tuning.measured_by,
        "teacher": tuning.teacher,
        "seeds": list(tuning.seeds),
        "trials": study.log,
    }


def _key(comparing: Comparing, row: str) -> str:
    """Return what is equal for tunings whose trials can be compared; there may be more of them."""
    tuning, settings = to_dict(_tuning(comparing)), comparing.comparison.settings
    transfer = _tuning(comparing).transfer
    by = {"transfer": task_identity(transfer)} if transfer is not None else {}
    return settings_key(
        {
            "row": without_places(settings_at(comparing, row, {}, _tuning(comparing).seeds[0])),
            "parameters": {path: to_dict(found) for path, found in settings.methods[row].parameters.items()},
            "tuning": {name: tuning[name] for name in ("teacher", "seeds", "objective", "fraction")} | by,
            "budget": to_dict(settings.budget),
        }
    )


def _tuning(comparing: Comparing) -> TuningSettings:
    tuning = comparing.comparison.settings.tuning
    assert tuning is not None
    return tuning

"""Hears what happens to trials and tells the console, MLflow and the records."""

from __future__ import annotations

import base64
import functools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from dfkd.cluster.trial import TrialPlan
from dfkd.cluster.worker import DEVICE_KEY, PREVIEW_KEY, WARNING_KEY
from dfkd.jobs.console import Console, duration
from dfkd.jobs.time_left import seconds_left
from dfkd.jobs.trial_records import TrialRecord, TrialRecords
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import flatten, settings_key, shareable
from dfkd.tracking.mlflow_tracker import MlflowTracking
from dfkd.tracking.protocol import Tracker

SECONDS_BETWEEN_LINES = 5.0
#: What settings are called in a run's name: MLflow cuts long ones.
SHORT = {
    "adversarial": "adv",
    "batch_norm": "bn",
    "learning_rate": "lr",
    "num_sources": "sources",
    "class_prior": "prior",
}


class SearchListener:
    """A ``TrialListener`` for one phase of a search.

    Args:
        plan: of the phase's trials.
        check_epochs: of the run with other workers, warm-up included; what the default settings have reached by then is
            kept to be compared with it. None: there is no such run.
        defaults: the params of the default settings.
        objective: key of the reports that trials are compared by.
        better: says whether a first value of the objective beats a second.
        records: where trials are remembered.
        tracking: opens a child run a trial.
        console: what a person reads.
        planned: trials that the whole search will run.
        searched: resolves the params of the searched trials, which have the same number of workers and the same seed;
            one with others is no measure of their values and times.
    """

    def __init__(
        self,
        *,
        plan: TrialPlan,
        check_epochs: int | None,
        defaults: Mapping[str, Any],
        objective: str,
        better: Callable[[float, float], bool],
        records: TrialRecords,
        tracking: MlflowTracking,
        console: Console,
        planned: int,
        searched: Callable[[Mapping[str, Any]], ExperimentSettings],
    ) -> None:
        self._plan, self._resolve, self._check_epochs = plan, plan.resolve, check_epochs
        self._defaults, self._objective, self._better = dict(defaults), objective, better
        self._records, self._tracking, self._console, self._planned = records, tracking, console, planned
        self._searched = _group(searched(defaults))
        self._trackers: dict[str, Tracker] = {}
        self._begun: dict[str, float] = {}  # on the clock; for one that goes on, as if it had run until now
        self._most_running = 0
        self._last_line = 0.0

    def started(self, params: dict[str, Any]) -> None:
        """Open the trial's run, or go on with it."""
        settings = self._resolve(params)
        record = self._record(settings, params)
        verb = "starts" if self._records.get(record.key) is None else "goes on"
        record.status, record.error = "running", None
        self._records.save(record)
        name = run_name(settings.synthesis.method, params) if not record.is_default else self._default_name(settings)
        tracker = self._tracking.open_child(
            record.key,
            name,
            {"dfkd.kind": "trial", "dfkd.trial": str(record.number), "dfkd.default": str(record.is_default)},
        )
        tracker.log_params(flatten(shareable(settings)))
        self._trackers[record.key] = tracker
        self._most_running = max(self._most_running, len(self._trackers))
        self._begun.setdefault(record.key, time.monotonic() - record.seconds)
        self._console.say(f"trial {record.number + 1}/{self._planned} {verb}: {name}")

    def reported(self, params: dict[str, Any], report: dict[str, Any]) -> None:
        """Log an epoch, and now and then print it."""
        settings = self._resolve(params)
        record = self._record(settings, params)
        metrics = {key: value for key, value in report.items() if isinstance(value, int | float) and "/" in key}
        record.metrics = metrics | {"epoch": report["epoch"], "finished": bool(report.get("finished"))}
        if record.is_default and report["epoch"] + 1 == self._check_epochs:
            record.metrics_at_check = record.metrics
        record.seconds = time.monotonic() - self._begun[record.key]
        if record.first_report_seconds is None and "time/elapsed_seconds" in metrics:
            record.startup_seconds = record.seconds - metrics["time/elapsed_seconds"]
            record.first_report_seconds = self._console.seconds
        tracker = self._trackers[record.key]
        tracker.log_metrics(metrics, step=report["epoch"])
        if record.device != (device := report.get(DEVICE_KEY)) and device is not None:
            record.device = device
            tracker.set_tags({"device": device})
        if PREVIEW_KEY in report:
            tracker.log_image("synthetic images", base64.b64decode(report[PREVIEW_KEY]), step=report["epoch"])
        self._records.save(record)
        if WARNING_KEY in report:
            self._console.say(f"trial {record.number + 1}/{self._planned} warning: {report[WARNING_KEY]}")
        if time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._console.say(self._progress_line(record, settings))

    def ended(self, params: dict[str, Any], *, error: str | None, lost: bool = False) -> None:
        """Close the trial's run and say how it went."""
        settings = self._resolve(params)
        record = self._record(settings, params)
        complete = _epochs_done(record) >= self._plan.epochs(settings)  # all that were planned
        record.status = "lost" if lost else "failed" if error else "complete" if complete else "stopped"
        record.error = error
        now = time.monotonic()
        record.seconds = now - self._begun.pop(record.key, now - record.seconds)
        self._records.save(record)
        if tracker := self._trackers.pop(record.key, None):
            tracker.set_tags({"dfkd.status": record.status} | ({"dfkd.error": error} if error else {}))
            tracker.close("FAILED" if error else "FINISHED")
        outcome = error or f"{self._short_objective} {self._value(record)}"
        self._console.say(f"trial {record.number + 1}/{self._planned} {record.status}: {outcome}{self._time_left()}")

    @property
    def _short_objective(self) -> str:
        return self._objective.split("/", 1)[1] if "/" in self._objective else self._objective

    def _record(self, settings: ExperimentSettings, params: dict[str, Any]) -> TrialRecord:
        key = settings_key(settings)
        found = self._records.get(key)
        return found or TrialRecord(
            key=key,
            number=len(self._records),
            params=dict(params),
            workers=settings.workers,
            seed=settings.seed,
            is_default=dict(params) == self._defaults,
        )

    def _default_name(self, settings: ExperimentSettings) -> str:
        """Return the name of a run of the default settings, with what it differs in from the searched trials."""
        workers, seed = self._searched
        other_workers = f", {settings.workers} workers" if settings.workers != workers else ""
        other_seed = f", seed {settings.seed}" if settings.seed != seed else ""
        return f"{settings.synthesis.method} default settings{other_workers}{other_seed}"

    def _value(self, record: TrialRecord) -> str:
        value = record.metrics.get(self._objective)
        return "-" if value is None else f"{value:.4f}"

    def _progress_line(self, record: TrialRecord, settings: ExperimentSettings) -> str:
        done = record.metrics["epoch"] + 1
        learns = done > settings.warm_up_epochs
        what = f"{self._short_objective} {self._value(record)}" if learns else "filling the image bank"
        where = f"trial {record.number + 1}/{self._planned} epoch {done}/{self._plan.epochs(settings)}"
        return f"{where}: {what}{self._best_so_far()}{self._time_left()}"

    def _best_so_far(self) -> str:
        ended = (record for record in self._comparable() if record.status == "complete")
        values = [record.metrics[self._objective] for record in ended if self._objective in record.metrics]
        if not values:
            return ""
        best = functools.reduce(lambda first, second: second if self._better(second, first) else first, values)
        return f" | best so far {best:.4f}"

    def _comparable(self) -> list[TrialRecord]:
        return [record for record in self._records.all() if _group(record) == self._searched]

    def _time_left(self) -> str:
        """Return an estimate in words, or nothing before there is anything to estimate by."""
        seconds = self._mean_seconds()
        records = self._records.all()
        running = [self._share_to_run(record) for record in records if record.key in self._trackers]
        to_start = self._planned - len(running) - sum(record.status != "running" for record in records)
        if seconds is None or not (running or to_start > 0):
            return ""
        left = seconds_left(
            mean_seconds=seconds,
            running=running,
            to_start=to_start,
            concurrency=self._most_running,
        )
        return f" | about {duration(left)} left"

    def _mean_seconds(self) -> float | None:
        """Return how long a trial takes: those that ended, else what the epochs so far say, of whatever there is."""
        ended = [record.seconds for record in self._comparable() if record.status in ("complete", "stopped")]
        if ended:
            return statistics.fmean(ended)
        for records in (self._comparable(), self._records.all()):
            whole = [record for record in records if record.status not in ("failed", "lost")]
            if projected := [self._projected(record) for record in whole if self._share_left(record) < 1]:
                return statistics.fmean(projected)
        return None

    def _projected(self, record: TrialRecord) -> float:
        """Return how long a trial will have taken that has run for some epochs: it starts once."""
        start = record.startup_seconds or 0.0
        return start + (record.seconds - start) / (1 - self._share_left(record))

    def _share_left(self, record: TrialRecord) -> float:
        """Return which share of its schedule a trial has not run."""
        return 1 - _epochs_done(record) / self._resolve(record.params).total_epochs

    def _share_to_run(self, record: TrialRecord) -> float:
        """Return which share of a whole schedule a running trial will still run."""
        settings = self._resolve(record.params)
        return (self._plan.epochs(settings) - _epochs_done(record)) / settings.total_epochs


def _epochs_done(record: TrialRecord) -> int:
    return int(record.metrics.get("epoch", -1)) + 1


def _group(trial: TrialRecord | ExperimentSettings) -> tuple[int, int]:
    """Return what comparable trials have in common."""
    return trial.workers, trial.seed


def run_name(method: str, params: Mapping[str, Any]) -> str:
    """Return a name that a list of runs reads well with: ``cae adv=1.3 bn=8 lr=0.2``."""
    names = [path.rsplit(".", 1)[-1] for path in params]
    parts = [f"{SHORT.get(name, name)}={_short(value)}" for name, value in zip(names, params.values(), strict=True)]
    return " ".join([method, *parts])


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

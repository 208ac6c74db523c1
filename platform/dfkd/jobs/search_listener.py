"""Hears what happens to trials and tells the console, MLflow and the records."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from typing import Any

from dfkd.jobs.console import Console, duration
from dfkd.jobs.trial_records import TrialRecord, TrialRecords
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import settings_key, to_dict
from dfkd.tracking.mlflow_tracker import MlflowTracking
from dfkd.tracking.protocol import Tracker

PREVIEW_KEY = "preview_png"
SECONDS_BETWEEN_LINES = 5.0


class SearchListener:
    """A ``TrialListener`` for one phase of a search.

    Args:
        resolve: params -> complete settings.
        defaults: the params of the default settings.
        objective: key of the reports that trials are compared by.
        better: says whether a first value of the objective beats a second.
        records: where trials are remembered.
        tracking: opens a child run a trial.
        console: what a person reads.
        planned: trials that the whole search will run.
    """

    def __init__(
        self,
        *,
        resolve: Callable[[Mapping[str, Any]], ExperimentSettings],
        defaults: Mapping[str, Any],
        objective: str,
        better: Callable[[float, float], bool],
        records: TrialRecords,
        tracking: MlflowTracking,
        console: Console,
        planned: int,
    ) -> None:
        self._resolve, self._defaults, self._objective, self._better = resolve, dict(defaults), objective, better
        self._records, self._tracking, self._console, self._planned = records, tracking, console, planned
        self._trackers: dict[str, Tracker] = {}
        self._begun: dict[str, float] = {}
        self._last_line = 0.0

    def started(self, params: dict[str, Any]) -> None:
        """Open the trial's run, or go on with it."""
        settings = self._resolve(params)
        record = self._record(settings, params)
        record.status, record.error = "running", None
        self._records.save(record)
        name = run_name(settings.synthesis.method, params, is_default=record.is_default, workers=record.workers)
        tracker = self._tracking.open_child(
            record.key,
            name,
            {"dfkd.kind": "trial", "dfkd.trial": str(record.number), "dfkd.default": str(record.is_default)},
        )
        tracker.log_params(flatten(to_dict(settings)))
        self._trackers[record.key] = tracker
        self._begun[record.key] = time.monotonic()
        self._console.say(f"trial {record.number + 1}/{self._planned} starts: {name}")

    def reported(self, params: dict[str, Any], report: dict[str, Any]) -> None:
        """Log an epoch, and now and then print it."""
        settings = self._resolve(params)
        record = self._record(settings, params)
        metrics = {key: value for key, value in report.items() if isinstance(value, int | float) and "/" in key}
        record.metrics = metrics | {"epoch": report["epoch"], "finished": bool(report.get("finished"))}
        tracker = self._trackers[record.key]
        tracker.log_metrics(metrics, step=report["epoch"])
        if PREVIEW_KEY in report:
            tracker.log_image("synthetic images", base64.b64decode(report[PREVIEW_KEY]), step=report["epoch"])
        self._records.save(record)
        if time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._console.say(self._progress_line(record, settings))

    def ended(self, params: dict[str, Any], *, error: str | None) -> None:
        """Close the trial's run and say how it went."""
        settings = self._resolve(params)
        record = self._record(settings, params)
        complete = bool(record.metrics.get("finished"))
        record.status = "failed" if error else "complete" if complete else "stopped"
        record.error = error
        record.seconds += time.monotonic() - self._begun.get(record.key, time.monotonic())
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
            is_default=dict(params) == self._defaults,
        )

    def _value(self, record: TrialRecord) -> str:
        value = record.metrics.get(self._objective)
        return "-" if value is None else f"{value:.4f}"

    def _progress_line(self, record: TrialRecord, settings: ExperimentSettings) -> str:
        total = settings.distillation.epochs + getattr(settings.synthesis, "warm_up_epochs", 0)
        warm = record.metrics["epoch"] + 1 > total - settings.distillation.epochs
        what = f"{self._short_objective} {self._value(record)}" if warm else "filling the image bank"
        done = self._ended()
        best = [r.metrics[self._objective] for r in done if r.status == "complete" and self._objective in r.metrics]
        leader = ""
        if best:
            top = best[0]
            for value in best[1:]:
                top = value if self._better(value, top) else top
            leader = f" | best so far {top:.4f}"
        epoch = record.metrics["epoch"] + 1
        return f"trial {record.number + 1}/{self._planned} epoch {epoch}/{total}: {what}{leader}{self._time_left()}"

    def _ended(self) -> list[TrialRecord]:
        return [record for record in self._records.all() if record.status != "running"]

    def _time_left(self) -> str:
        """Estimate the time left from the trials that ended, running as many at a time as now."""
        ended = [record for record in self._ended() if record.seconds > 0]
        left = self._planned - len(self._ended())
        if not ended or left <= 0:
            return ""
        mean = sum(record.seconds for record in ended) / len(ended)
        return f" | about {duration(mean * left / max(1, len(self._trackers)))} left"


def run_name(method: str, params: Mapping[str, Any], *, is_default: bool, workers: int) -> str:
    """Return a name that a list of runs reads well with: ``cae adversarial=1.3 learning_rate=0.2``."""
    if is_default:
        return f"{method} default settings" + (f", {workers} workers" if workers > 1 else "")
    parts = [f"{path.rsplit('.', 1)[-1]}={_short(value)}" for path, value in params.items()]
    return " ".join([method, *parts])


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def flatten(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level of dotted paths."""
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat

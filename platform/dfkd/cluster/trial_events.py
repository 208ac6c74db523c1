"""Ray Tune's events, told to a listener in the driver."""

from __future__ import annotations

import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

from ray import tune
from ray.tune.experiment import Trial

from dfkd.cluster.trial import FAILURE_KEY
from dfkd.cluster.worker import DEVICE_KEY, PREVIEW_KEY, WARNING_KEY, Report

OWN_KEYS = (
    "epoch",
    "finished",
    DEVICE_KEY,
    PREVIEW_KEY,
    WARNING_KEY,
)  # of reports, beside metrics such as `probe/agreement`

KEPT_KEYS = {"epoch", "finished"}  # by which the searcher tells how a trial ended


class TrialListener(Protocol):
    """Hears what happens to trials; ``params`` are the searched settings by dotted path."""

    def started(self, params: dict[str, Any]) -> None:
        """Hear that a trial runs, for the first time or again after its process was lost."""
        ...

    def reported(self, params: dict[str, Any], report: Report) -> None:
        """Hear what an epoch of it gave."""
        ...

    def ended(self, params: dict[str, Any], *, error: str | None, lost: bool = False) -> None:
        """Hear that it ended: complete, stopped early, or with an error; ``lost`` if that was none of its own."""
        ...


class TrialEvents(tune.Callback):  # type: ignore[misc]
    """Passes Ray Tune's callbacks on.

    Ray Tune (2.60) keeps the last result of every trial until its own end, with averages of each number, and writes
    all of them to disk every few seconds. It lets callbacks change a result, so what was heard goes no further.

    Args:
        listener: hears of the trials.
        compared_by: metrics that searcher and scheduler read in a last result; these stay in it.
    """

    def __init__(self, listener: TrialListener, *, compared_by: Collection[str]) -> None:
        self._listener, self._compared_by = listener, frozenset(compared_by)

    def __getstate__(self) -> dict[str, Any]:
        """Keep nothing: Ray Tune pickles callbacks for its own restore, which is not how a search goes on here."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called when a trial starts."""
        self._listener.started(dict(trial.config))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Called after each report."""
        if FAILURE_KEY not in result:
            own = {key: value for key, value in result.items() if is_our_own(key)}
            self._listener.reported(dict(trial.config), own)
            for key in own.keys() - self._compared_by - KEPT_KEYS:
                del result[key]

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called when a trial is complete, was stopped early or ended with an error of its own."""
        self._listener.ended(dict(trial.config), error=trial.last_result.get(FAILURE_KEY))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called when a trial was lost too often."""
        self._listener.ended(dict(trial.config), error=error_line(trial), lost=True)


def is_our_own(key: str) -> bool:
    """Whether a key of Ray Tune's result is one that our worker reported."""
    return ("/" in key and not key.startswith("config/")) or key in OWN_KEYS


def error_line(trial: Trial) -> str:
    """Return in one line why a trial was lost, without the stack of processes."""
    file = trial.pickled_error_file  # just written by Ray Tune in this process; its own reader waits for an upload
    if file is None:
        return f"unknown error; see {trial.error_file}"
    error = pickle.loads(Path(file).read_bytes())
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {' '.join(str(cause).split())}"[:500]

"""Ray Tune's events, told to a listener in the driver."""

from __future__ import annotations

from typing import Any, Protocol

from ray import tune
from ray.tune.experiment import Trial

from dfkd.cluster.trial import TrialError
from dfkd.cluster.worker import Report


class TrialListener(Protocol):
    """Hears what happens to trials; ``params`` are the searched settings by dotted path."""

    def started(self, params: dict[str, Any]) -> None:
        """Hear that a trial runs."""
        ...

    def reported(self, params: dict[str, Any], report: Report) -> None:
        """Hear what an epoch of it gave."""
        ...

    def ended(self, params: dict[str, Any], *, error: str | None) -> None:
        """Hear that it ended: complete, stopped early, or with an error."""
        ...


class TrialEvents(tune.Callback):  # type: ignore[misc]
    """Passes Ray Tune's callbacks on."""

    def __init__(self, listener: TrialListener) -> None:
        self._listener = listener

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
        own = {key: value for key, value in result.items() if is_our_own(key)}
        self._listener.reported(dict(trial.config), own)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called when a trial is complete or was stopped early."""
        self._listener.ended(dict(trial.config), error=None)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called when a trial failed for good."""
        self._listener.ended(dict(trial.config), error=error_line(trial))


def is_our_own(key: str) -> bool:
    """Whether a key of Ray Tune's result is one that our worker reported."""
    return ("/" in key and not key.startswith("config/")) or key in ("epoch", "finished", "preview_png")


def error_line(trial: Trial) -> str:
    """Return a failed trial's error in one line: its own words, without the stack of processes."""
    error = trial.get_pickled_error() or trial.get_error()
    cause = getattr(error, "cause", None) or error
    words = " ".join(str(cause).split()) or "unknown error"
    return words if isinstance(cause, TrialError) else f"{type(cause).__name__}: {words}"[:500]

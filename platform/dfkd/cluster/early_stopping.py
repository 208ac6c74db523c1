"""Which trials stop early: successive halving, counted in epochs in which the student learns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from dfkd.cluster.trial import TrialPlan

STUDENT_EPOCHS = "student_epochs"
#: Parameters of a trial, and its objective after every epoch.
Reported = tuple[Mapping[str, Any], Mapping[int, float]]


class EarlyStopping(ASHAScheduler):  # type: ignore[misc]
    """Ray Tune's ASHA (2.60) on our own count of epochs; the default settings always run to their end.

    A warm-up fills the image bank and says nothing of the student, so that its epochs do not count. The default
    settings are what ties and regret refer to.

    Ray Tune neither keeps the rungs of a search nor knows a trial again that goes on. Here a trial is its settings, and
    the rungs are filled with what was reported before: a search that goes on stops whom it would have stopped.

    Args:
        plan: its space says how long trials are and what is stopped when.
        metric: key of the reports that trials are compared by.
        mode: ``min`` or ``max``.
        earlier: what this search's trials reported before it was interrupted.
    """

    def __init__(self, plan: TrialPlan, *, metric: str, mode: str, earlier: Iterable[Reported] = ()) -> None:
        stopping = plan.space.settings.early_stopping
        assert stopping is not None
        longest = max(settings.distillation.epochs for settings in plan.space.corner_settings())
        super().__init__(
            time_attr=STUDENT_EPOCHS,
            metric=metric,
            mode=mode,
            max_t=max(longest + 1, stopping.grace_epochs),  # a last report must never be cut off as "reached max_t"
            grace_period=stopping.grace_epochs,
            reduction_factor=stopping.reduction_factor,
        )
        self._plan, self._defaults = plan, plan.space.defaults()
        for params, values in earlier:
            self._fill_rungs(params, values)

    def _fill_rungs(self, params: Mapping[str, Any], values: Mapping[int, float]) -> None:
        trial, warm_up = self._known_by_settings(params), self._plan.resolve(params).warm_up_epochs
        (bracket,) = self._brackets
        for epoch, value in sorted(values.items()):
            bracket.on_result(trial, epoch + 1 - warm_up, self._metric_op * value)

    def _known_by_settings(self, params: Mapping[str, Any]) -> Any:
        """Return what stands for a trial: only ``trial_id`` is asked of it."""
        return SimpleNamespace(trial_id=self._plan.key(params))

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Take a trial in."""
        super().on_trial_add(tune_controller, self._known_by_settings(trial.config))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Let a trial go that ended; its last value was heard as a report."""
        super().on_trial_complete(tune_controller, self._known_by_settings(trial.config), result)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Let a trial go that did not begin, or was lost."""
        super().on_trial_remove(tune_controller, self._known_by_settings(trial.config))

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Return whether a trial goes on after this report."""
        if "epoch" not in result:  # the trial failed, and this says why
            return str(TrialScheduler.CONTINUE)
        settings = self._plan.resolve(trial.config)
        counted = result | {STUDENT_EPOCHS: result["epoch"] + 1 - settings.warm_up_epochs}
        decision: str = super().on_trial_result(tune_controller, self._known_by_settings(trial.config), counted)
        return str(TrialScheduler.CONTINUE) if trial.config == self._defaults else decision

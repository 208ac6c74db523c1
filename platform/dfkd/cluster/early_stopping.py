"""Which trials stop early: successive halving, counted in epochs in which the student learns."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from dfkd.cluster.trial import TrialPlan

STUDENT_EPOCHS = "student_epochs"


class EarlyStopping(ASHAScheduler):  # type: ignore[misc]
    """Ray Tune's ASHA (2.60) on our own count of epochs; the default settings always run to their end.

    A warm-up fills the image bank and says nothing of the student, so that its epochs do not count. The default
    settings are what ties and regret refer to.

    Args:
        plan: its space says how long trials are and what is stopped when.
        metric: key of the reports that trials are compared by.
        mode: ``min`` or ``max``.
    """

    def __init__(self, plan: TrialPlan, *, metric: str, mode: str) -> None:
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

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Return whether a trial goes on after this report."""
        if "epoch" not in result:  # the trial failed, and this says why
            return str(TrialScheduler.CONTINUE)
        settings = self._plan.resolve(trial.config)
        counted = result | {STUDENT_EPOCHS: result["epoch"] + 1 - settings.warm_up_epochs}
        decision: str = super().on_trial_result(tune_controller, trial, counted)
        return str(TrialScheduler.CONTINUE) if trial.config == self._defaults else decision

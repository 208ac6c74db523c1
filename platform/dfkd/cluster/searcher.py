"""Ray Tune's Optuna, told the truth: no point is run twice, and what ends early is no complete trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from dfkd.cluster.trial import TrialPlan
from dfkd.search.optuna_space import (
    distributions,
    enqueue,
    lose,
    make_sampler,
    random_points,
    refuse,
    sampler_at,
    settled_params,
)
from dfkd.settings.search import SamplerSettings

ATTEMPTS = 5  # of the sampler to propose a point that was not run yet; then one is drawn


class StudySearch(OptunaSearch):  # type: ignore[misc]
    """``OptunaSearch`` (Ray 2.60) for trials that depend on nothing but their settings.

    A point whose settings were run before would come out the same, and values that are right one by one may be no
    experiment together: Optuna hears FAIL for such a point and is asked for another. When every point of a finite
    space was run, the search ends.

    Args:
        plan: its space is searched, and its key says which points are the same.
        metric: key of the reports that trials are compared by.
        mode: ``min`` or ``max``.
        further: the same of further objectives, which a trial's last report alone holds.
        sampler: proposes the points.
        storage: of the study.
        study_name: of a study in it.
        first: the points to begin with.
    """

    def __init__(
        self,
        plan: TrialPlan,
        *,
        metric: str,
        mode: str,
        further: Sequence[tuple[str, str]] = (),
        sampler: SamplerSettings,
        storage: optuna.storages.BaseStorage,
        study_name: str,
        first: Sequence[Mapping[str, Any]],
    ) -> None:
        self._plan, self._sampler_settings = plan, sampler
        self._metrics = [metric, *(key for key, _ in further)]
        super().__init__(
            space=distributions(plan.space),
            metric=self._metrics if further else metric,
            mode=[mode, *(mode for _, mode in further)] if further else mode,
            sampler=make_sampler(sampler),
            storage=storage,
            study_name=study_name,
        )
        # Ray Tune (2.60) refuses a report without a metric that the searcher names, and only the last one has them all.
        self._metric, self._mode = metric, mode
        self._known = {self._key(params) for params in settled_params(self._ot_study)} | {None}
        self._last_epoch: dict[str, int] = {}
        enqueue(self._ot_study, first)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next point that can be run and was not run yet, or that there is none."""
        for attempt in range(ATTEMPTS):
            self._ot_study.sampler = sampler_at(self._sampler_settings, len(self._known), attempt)
            if self._is_new(trial_id):
                return dict(self._ot_trials[trial_id].params)
        points = random_points(self._space, seed=len(self._known))
        point = next((point for point in points if self._key(point) not in self._known), None)
        if point is None:
            return str(Searcher.FINISHED)
        enqueue(self._ot_study, [point])
        while not self._is_new(trial_id):  # what waits in the queue comes before it
            pass
        return dict(self._ot_trials[trial_id].params)

    def _is_new(self, trial_id: str) -> bool:
        """Ask the sampler for a point, and whether it is a new one."""
        key = self._key(super().suggest(trial_id))
        if key in self._known:
            refuse(self._ot_study, self._ot_trials.pop(trial_id))
            return False
        self._known.add(key)
        return True

    def _key(self, params: Mapping[str, Any]) -> str | None:
        """Return what is equal for points with the same settings, and None for all that are no experiment."""
        try:
            return self._plan.key(params)
        except ValueError:
            return None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Note the objective after an epoch; one that is told again after a restart is known."""
        if len(self._metrics) > 1:  # Optuna takes no such values of several objectives
            return
        epoch = result.get("epoch", -1)
        if epoch > self._last_epoch.get(trial_id, -1):
            self._last_epoch[trial_id] = epoch
            self._ot_trials[trial_id].report(result[self.metric], epoch)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna how a trial ended; one that was stopped early has its last value, as PRUNED."""
        trial, result = self._ot_trials[trial_id], result or {}
        values = [result.get(metric, math.nan) for metric in self._metrics]
        if error:
            lose(self._ot_study, trial)
        elif not all(map(math.isfinite, values)):
            self._ot_study.tell(trial, state=TrialState.FAIL)
        elif result.get("finished"):
            self._ot_study.tell(trial, values)
        else:
            self.on_trial_result(trial_id, result)  # the report at which it was stopped has not come here
            self._ot_study.tell(trial, state=TrialState.PRUNED)

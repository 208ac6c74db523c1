"""Ray Tune with Optuna over the trials of a search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from dfkd.assembly import Materials
from dfkd.cluster.checkpoints import RAY_TUNE
from dfkd.cluster.early_stopping import EarlyStopping, Reported
from dfkd.cluster.resources import concurrent_trials, trial_resources
from dfkd.cluster.searcher import StudySearch
from dfkd.cluster.trial import TrialPlan, run_trial
from dfkd.cluster.worker import RESTARTS
from dfkd.settings.search import SamplerSettings


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What trials are compared by: a key of their reports, and ``min`` or ``max``."""

    metric: str
    mode: str


def run_trials(
    plan: TrialPlan,
    materials: Materials,
    *,
    name: str,
    num_trials: int,
    objective: Objective,
    searcher: StudySearch | None,
    callbacks: Sequence[tune.Callback],
    scheduler: TrialScheduler | None = None,
    concurrency: int | None = None,
) -> int:
    """Run trials until ``num_trials`` have ended, well or not; what they gave reaches the callbacks.

    Args:
        plan: what the trials share.
        materials: put into the object store once.
        name: of this phase, for Ray Tune's folder.
        num_trials: how many to run.
        objective: what they are compared by.
        searcher: suggests parameters; None runs the default settings.
        callbacks: hear of every start, report and end, in the driver.
        scheduler: may stop trials early.
        concurrency: how many may run at once; None takes as many as fit.

    Returns:
        How many ran: fewer where the space has no further point.
    """
    settings = plan.resolve(plan.space.defaults())
    trainable = tune.with_resources(
        tune.with_parameters(run_trial, plan=plan, materials=materials, objective=objective.metric),
        trial_resources(settings, plan.workers),
    )
    results = tune.Tuner(
        trainable,
        param_space=None if searcher else plan.space.defaults(),
        tune_config=tune.TuneConfig(
            # One trial's process goes on to the next: importing torch anew would cost seconds each.
            reuse_actors=plan.workers == 1,
            num_samples=num_trials,
            search_alg=searcher,
            scheduler=scheduler or FIFOScheduler(),
            max_concurrent_trials=concurrent_trials(settings, plan.workers, wanted=concurrency) if searcher else None,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=f"{plan.storage.rstrip('/')}/{RAY_TUNE}",
            callbacks=list(callbacks),
            failure_config=tune.FailureConfig(max_failures=RESTARTS),
            verbose=0,
        ),
    ).fit()
    return len(results)


def make_searcher(
    plan: TrialPlan,
    *,
    objective: Objective,
    further: Sequence[Objective] = (),
    sampler: SamplerSettings,
    storage: optuna.storages.BaseStorage,
    study_name: str,
    first: Sequence[dict[str, Any]],
) -> StudySearch:
    """Return the searcher; ``first`` are the parameters of the first trials, the default settings among them.

    ``further`` are what trials are compared by besides.
    """
    return StudySearch(
        plan,
        metric=objective.metric,
        mode=objective.mode,
        further=[(other.metric, other.mode) for other in further],
        sampler=sampler,
        storage=storage,
        study_name=study_name,
        first=first,
    )


def make_scheduler(plan: TrialPlan, objective: Objective, earlier: Iterable[Reported] = ()) -> TrialScheduler | None:
    """Return who stops trials early, if the search wants it; ``earlier`` is what its trials reported before."""
    if plan.space.settings.early_stopping is None:
        return None
    return EarlyStopping(plan, metric=objective.metric, mode=objective.mode, earlier=earlier)

"""Ray Tune with Optuna over the trials of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from dfkd.assembly import Materials
from dfkd.cluster.resources import concurrent_trials, trial_resources
from dfkd.cluster.trial import TrialPlan, run_trial

RESTARTS = 2  # of a trial whose process or node was lost; it goes on from its newest checkpoint


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
    searcher: OptunaSearch | None,
    callbacks: Sequence[tune.Callback],
    scheduler: TrialScheduler | None = None,
    concurrency: int | None = None,
) -> None:
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
    """
    settings = plan.resolve(plan.space.defaults())
    trainable = tune.with_resources(
        tune.with_parameters(run_trial, plan=plan, materials=materials), trial_resources(settings, plan.workers)
    )
    tune.Tuner(
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
            storage_path=f"{plan.storage.rstrip('/')}/ray_tune",
            callbacks=list(callbacks),
            failure_config=tune.FailureConfig(max_failures=RESTARTS),
            verbose=0,
        ),
    ).fit()


def make_searcher(
    distributions: Mapping[str, optuna.distributions.BaseDistribution],
    *,
    objective: Objective,
    sampler: optuna.samplers.BaseSampler,
    storage: optuna.storages.BaseStorage,
    study_name: str,
    first: Sequence[dict[str, Any]],
) -> OptunaSearch:
    """Return the searcher; ``first`` are the parameters of the first trials, the default settings among them."""
    return OptunaSearch(
        space=dict(distributions),
        metric=objective.metric,
        mode=objective.mode,
        points_to_evaluate=list(first) or None,
        sampler=sampler,
        storage=storage,
        study_name=study_name,
    )


def make_scheduler(
    objective: Objective, *, grace_epochs: int, reduction_factor: int, total_epochs: int
) -> ASHAScheduler:
    """Return ASHA on our own epoch count, which goes on after a restart where Ray Tune's iteration would not."""
    return ASHAScheduler(
        time_attr="epoch",
        metric=objective.metric,
        mode=objective.mode,
        max_t=total_epochs + 1,  # the last report must never be cut off as "reached max_t"
        grace_period=grace_epochs,
        reduction_factor=reduction_factor,
    )

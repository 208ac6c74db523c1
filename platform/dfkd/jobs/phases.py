"""The phases of a search, in the order in which they run: the check with two workers, seed repeats, trials."""

from __future__ import annotations

from typing import Any

from dfkd.cluster.resources import num_devices
from dfkd.cluster.trial import TrialPlan
from dfkd.cluster.trial_events import TrialEvents
from dfkd.cluster.tuner import Objective, make_scheduler, make_searcher, run_trials
from dfkd.jobs.floor import NOISE_FLOOR, FloorRun, start_floor
from dfkd.jobs.preparation import REPORT_KEYS
from dfkd.jobs.running import Running
from dfkd.jobs.search_listener import SearchListener
from dfkd.search.optuna_space import (
    open_study,
    reported_values,
    settled_params,
    stale_params,
    study_storage,
)
from dfkd.search.space import CHECK_WORKERS, SearchSpace
from dfkd.tasks.further_objectives import PREFIX


def objective_of(space: SearchSpace) -> Objective:
    """Return what Ray Tune and Optuna compare trials by."""
    goal = space.settings.objective.goal
    return Objective(metric=REPORT_KEYS[space.settings.objective.metric], mode="max" if goal == "maximize" else "min")


def further_objectives_of(space: SearchSpace) -> list[Objective]:
    """Return what trials are compared by besides, if anything."""
    return [
        Objective(metric=f"{PREFIX}{name}", mode="max" if objective.goal == "maximize" else "min")
        for name, objective in space.settings.further_objectives.items()
    ]


def listener_of(running: Running, plan: TrialPlan) -> SearchListener:
    """Return who hears of a phase's trials."""
    maximise = running.objective.mode == "max"
    return SearchListener(
        plan=plan,
        check_epochs=check_plan(running).epochs(running.space.resolve({})) if running.space.checks_workers else None,
        defaults=running.space.defaults(),
        objective=running.objective.metric,
        better=(lambda first, second: first > second) if maximise else (lambda first, second: first < second),
        records=running.records,
        tracking=running.tracking,
        console=running.console,
        planned=running.space.settings.trials,
        searched=running.plan().resolve,
    )


def events_of(running: Running, plan: TrialPlan) -> TrialEvents:
    """Return what tells the listener of a phase's trials."""
    objectives = [running.objective, *further_objectives_of(running.space)]
    return TrialEvents(listener_of(running, plan), compared_by=[objective.metric for objective in objectives])


def check_workers(running: Running) -> None:
    """Run the default settings once, alone, with two workers on Ray Train, unless the search does so anyway."""
    if running.space.checks_workers:
        run_default(running, check_plan(running), name="workers_check")


def check_plan(running: Running) -> TrialPlan:
    """Return what the run with two workers is, which may end before its schedule does."""
    return running.plan(workers=CHECK_WORKERS, student_epochs=running.space.settings.workers_check_epochs)


def repeat_default(running: Running) -> None:
    """Run the default settings under other seeds: by how much they differ, other trials differ by chance."""
    seed = running.space.resolve({}).seed
    for repeat in range(1, running.space.settings.seed_repeats + 1):
        run_default(running, running.plan(seed=seed + repeat), name=f"seed_repeat-{repeat}")


def run_default(running: Running, plan: TrialPlan, *, name: str) -> None:
    """Run the default settings by a plan of their own, unless this search did so before."""
    known = running.records.get(plan.key(running.space.defaults()))
    if known is not None and known.status in ("complete", "failed"):  # as for searched trials
        return
    run_trials(
        plan,
        running.materials,
        name=name,
        num_trials=1,
        objective=running.objective,
        searcher=None,
        callbacks=[events_of(running, plan)],
    )


def has_room_beside(running: Running) -> bool:
    """Whether something can run beside a trial without taking the only device, or one that it needs at once."""
    plan = running.plan()
    return plan.workers == 1 and num_devices(running.space.resolve({})) > 1


def find_floor(running: Running) -> FloorRun | None:
    """Start KD on random noise, if it is wanted, there is something to score it on, and its scores are not known."""
    wanted = running.space.settings.noise_floor and running.data.test is not None
    if not wanted or "floor_scores" in running.folder.facts():
        return None
    running.console.say("KD on random noise begins: the floor that the student is compared with")
    return start_floor(running.space.resolve({}), running.materials, f"{running.storage.rstrip('/')}/{NOISE_FLOOR}")


def search_trials(running: Running) -> None:
    """Run the searched trials that are still missing; the default settings come first."""
    space = running.space
    storage = study_storage(running.folder.path / "optuna.db")
    goal, *further_goals = space.settings.goals.values()
    study = open_study(storage, name=running.folder.search_id, direction=goal, further=further_goals)
    running.records.settle(settled_params(study), stopped=settled_params(study, only_stopped=True))
    plan = running.plan()
    ended = [record for record in running.searched() if record.status in ("complete", "stopped", "failed")]
    missing = space.settings.trials - space.reserved_trials - len(ended)
    if missing <= 0:
        return
    first: list[dict[str, Any]] = stale_params(study)
    if not any(record.is_default for record in ended) and space.defaults() not in first:
        first.insert(0, space.defaults())
    ran = run_trials(
        plan,
        running.materials,
        name=f"trials-{len(ended)}",
        num_trials=missing,
        objective=running.objective,
        searcher=make_searcher(
            plan,
            objective=running.objective,
            further=further_objectives_of(space),
            sampler=space.settings.sampler,
            storage=storage,
            study_name=running.folder.search_id,
            first=first[:missing],
        ),
        scheduler=make_scheduler(plan, running.objective, reported_values(study)),
        callbacks=[events_of(running, plan)],
        concurrency=space.settings.concurrency,
    )
    if ran < missing:
        running.console.say(f"the space has no further point: all {len(ended) + ran} were run")

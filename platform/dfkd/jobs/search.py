"""The main job: one search from its space to the registered student. Reads from top to bottom as it runs."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dfkd.assembly import Materials
from dfkd.cluster.trial import TrialPlan
from dfkd.cluster.trial_events import TrialEvents
from dfkd.cluster.tuner import Objective, make_scheduler, make_searcher, run_trials
from dfkd.data import load_dataset
from dfkd.data.real_data import RealData
from dfkd.jobs.command import open_output
from dfkd.jobs.console import Console
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.floor import start_floor
from dfkd.jobs.outcome import Outcome, conclude
from dfkd.jobs.preparation import (
    CHECK_WORKERS,
    REPORT_KEYS,
    check_cluster,
    check_objective,
    resolve_storage,
    runs_workers_check,
)
from dfkd.jobs.probe_cache import obtain_probe_set
from dfkd.jobs.ray_cluster import connected
from dfkd.jobs.search_folder import SearchFolder, find_search_folder, new_search_folder
from dfkd.jobs.search_listener import SearchListener, flatten
from dfkd.jobs.search_options import SearchOptions
from dfkd.jobs.story import last_screen, outcome_as_json
from dfkd.jobs.teacher import obtain_teacher
from dfkd.jobs.trial_records import TrialRecords
from dfkd.search.optuna_space import distributions, make_sampler, open_study, stale_params, study_storage
from dfkd.search.space import SearchSpace
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import settings_key, to_dict
from dfkd.settings.search import SamplerSettings
from dfkd.tracking.connection import check_reachable
from dfkd.tracking.home import open_home, resolve_tracking_uri
from dfkd.tracking.mlflow_tracker import MlflowTracking
from dfkd.tracking.protocol import Tracker


@dataclass(frozen=True, kw_only=True)
class Running:
    """What the phases of a search share while it runs."""

    space: SearchSpace
    options: SearchOptions
    home: Path
    folder: SearchFolder
    storage: str
    tracking_uri: str
    objective: Objective
    materials: Materials
    data: RealData
    records: TrialRecords
    tracking: MlflowTracking
    console: Console


def run_search(space: SearchSpace, options: SearchOptions, console: Console) -> Outcome:
    """Search for the best student, register it, and say how it went.

    Args:
        space: already checked.
        options: of the command line.
        console: what a person reads.

    Raises:
        ValueError: something that the user gave cannot work.
        ConnectionError: MLflow or Ray does not answer.
        OSError: a folder cannot be used.
    """
    home = open_home(options.home)
    tracking_uri = resolve_tracking_uri(options.tracking_uri, home=home)
    earlier = find_search_folder(home, space) if options.resume else None
    json_file = open_output(options.json_file)
    check_reachable(tracking_uri)
    with connected():
        check_cluster(space, tracking_uri=tracking_uri, storage=options.storage)
        data = load_dataset(space.resolve({}).dataset)
        check_objective(space, data)
        folder = earlier or new_search_folder(home, space)
        folder.note(state="running")
        storage = resolve_storage(options.storage, name=folder.search_id) if options.storage else str(folder.path)
        trials, metric = space.settings.trials, space.settings.objective.metric
        console.say(f"search {folder.search_id}: {trials} trials, selected on {metric}")
        materials = obtain_materials(space, options, data, home=home, tracking_uri=tracking_uri, console=console)
        with MlflowTracking(tracking_uri, home, folder.search_id) as tracking:
            running = Running(
                space=space,
                options=options,
                home=home,
                folder=folder,
                storage=storage,
                tracking_uri=tracking_uri,
                objective=objective_of(space),
                materials=materials,
                data=data,
                records=TrialRecords(folder.path / "trial_records"),
                tracking=tracking,
                console=console,
            )
            parent = open_parent(running)
            check_workers(running)
            floor = start_floor(space.resolve({}), materials) if options.floor else None
            search_trials(running)
            outcome = conclude(running, parent, floor, plan=plan_of(running, workers=search_workers(space)))
            parent.close("FINISHED")
            run_url = tracking.run_url()
    folder.note(state="finished", trials=space.settings.trials, student=outcome.model_uri)
    if json_file:
        json_file.write_text(outcome_as_json(running, outcome, seconds=console.seconds))
    console.show(last_screen(outcome, tracking_uri=tracking_uri, run_url=run_url, seconds=console.seconds))
    return outcome


def obtain_materials(
    space: SearchSpace, options: SearchOptions, data: RealData, *, home: Path, tracking_uri: str, console: Console
) -> Materials:
    """Return what all trials share: the teacher, its probe set, and real images for reports."""
    teacher = obtain_teacher(
        space.resolve({}),
        data,
        name=f"{space.settings.name}-teacher",
        home=home,
        tracking_uri=tracking_uri,
        console=console,
        retrain=options.retrain_teacher,
    )
    console.say("probe set: making an exam from the teacher alone, or reading it if it was made before")
    return Materials(teacher=teacher, probe=obtain_probe_set(teacher, home), validation=data.validation)


def objective_of(space: SearchSpace) -> Objective:
    """Return what Ray Tune and Optuna compare trials by."""
    goal = space.settings.objective.goal
    return Objective(metric=REPORT_KEYS[space.settings.objective.metric], mode="max" if goal == "maximize" else "min")


def open_parent(running: Running) -> Tracker:
    """Open the search's own run and record what is known before the first trial."""
    space, teacher = running.space, running.materials.teacher
    parent = running.tracking.open_parent(
        space.settings.name, running.folder.search_id, {"dfkd.kind": "search", "dfkd.teacher_hash": teacher.hash}
    )
    running.console.say(f"MLflow: {running.tracking.run_url()}")
    settings = space.resolve({})
    parent.log_params(
        flatten(to_dict(settings))
        | {"sampler": space.settings.sampler.name, "sampler_seed": space.settings.sampler.seed}
    )
    # Tags and not params, which cannot change: a search may go on under another commit.
    parent.set_tags({"commit": commit()} | {f"version.{name}": version for name, version in versions().items()})
    parent.log_artifact("search_space.json", json.dumps(to_dict(space.settings), indent=1).encode())
    parent.log_artifact("default_settings.json", json.dumps(to_dict(settings), indent=1).encode())
    return parent


def plan_of(running: Running, *, workers: int) -> TrialPlan:
    """Return what the trials of a phase share."""
    tracking = running.space.settings.tracking
    return TrialPlan(
        space=running.space,
        storage=running.storage,
        workers=workers,
        image_every=tracking.image_every if tracking.images else 0,
    )


def listener_of(running: Running, plan: TrialPlan) -> SearchListener:
    """Return who hears of a phase's trials."""
    maximise = running.objective.mode == "max"
    return SearchListener(
        resolve=plan.resolve,
        defaults=running.space.defaults(),
        objective=running.objective.metric,
        better=(lambda first, second: first > second) if maximise else (lambda first, second: first < second),
        records=running.records,
        tracking=running.tracking,
        console=running.console,
        planned=planned_trials(running.space),
    )


def planned_trials(space: SearchSpace) -> int:
    """Return how many trials the search has in all; the run with two workers is one of them."""
    return space.settings.trials


def search_workers(space: SearchSpace) -> int:
    """Return the data-parallel workers of each searched trial."""
    return space.resolve({}).workers


def check_workers(running: Running) -> None:
    """Run the default settings once, alone, with two workers on Ray Train, unless the search does so anyway."""
    space = running.space
    if not runs_workers_check(space):
        return
    plan = plan_of(running, workers=CHECK_WORKERS)
    settings = plan.resolve(space.defaults())
    known = running.records.get(settings_key(settings))
    if known is not None and known.status == "complete":
        return
    run_trials(
        plan,
        running.materials,
        name="workers_check",
        num_trials=1,
        objective=running.objective,
        searcher=None,
        callbacks=[TrialEvents(listener_of(running, plan))],
    )


def search_trials(running: Running) -> None:
    """Run the searched trials that are still missing; the default settings come first."""
    space = running.space
    storage = study_storage(running.folder.path / "optuna.db")
    study = open_study(storage, name=running.folder.search_id, direction=space.settings.objective.goal)
    plan = plan_of(running, workers=search_workers(space))
    ended = [
        r for r in running.records.all() if r.workers == plan.workers and r.status in ("complete", "stopped", "failed")
    ]
    reserved = 1 if runs_workers_check(space) else 0
    missing = space.settings.trials - reserved - len(ended)
    if missing <= 0:
        return
    first: list[dict[str, Any]] = stale_params(study)
    if not any(record.is_default for record in ended) and space.defaults() not in first:
        first.insert(0, space.defaults())
    stopping = space.settings.early_stopping
    settings = plan.resolve({})
    run_trials(
        plan,
        running.materials,
        name=f"trials-{len(ended)}",
        num_trials=missing,
        objective=running.objective,
        searcher=make_searcher(
            distributions(space),
            objective=running.objective,
            sampler=make_sampler(resumed_sampler(space, len(ended))),
            storage=storage,
            study_name=running.folder.search_id,
            first=first[:missing],
        ),
        scheduler=make_scheduler(
            running.objective,
            grace_epochs=stopping.grace_epochs,
            reduction_factor=stopping.reduction_factor,
            total_epochs=total_epochs(settings),
        )
        if stopping
        else None,
        callbacks=[TrialEvents(listener_of(running, plan))],
        concurrency=space.settings.concurrency,
    )


def total_epochs(settings: ExperimentSettings) -> int:
    """Return the epochs of a run, warm-up included."""
    return settings.distillation.epochs + getattr(settings.synthesis, "warm_up_epochs", 0)


def resumed_sampler(space: SearchSpace, num_ended: int) -> SamplerSettings:
    """Return the sampler's settings; a search that goes on must not draw the numbers of its beginning again."""
    return replace(space.settings.sampler, seed=space.settings.sampler.seed + num_ended)

"""The main job: one search from its space to the registered student. Reads from top to bottom as it runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from dfkd.assembly import Materials, load_images
from dfkd.cluster.resources import num_devices
from dfkd.cluster.trial import TrialPlan
from dfkd.cluster.trial_events import TrialEvents
from dfkd.cluster.tuner import Objective, make_scheduler, make_searcher, run_trials
from dfkd.data import load_dataset
from dfkd.data.real_data import RealData
from dfkd.jobs.command import open_output
from dfkd.jobs.console import Console
from dfkd.jobs.dataset_inputs import log_student_inputs
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.floor import NOISE_FLOOR, FloorRun, start_floor
from dfkd.jobs.leftovers import remove_leftovers
from dfkd.jobs.outcome import Outcome, conclude
from dfkd.jobs.preparation import (
    REPORT_KEYS,
    check_cluster,
    check_objective,
    resolve_storage,
    with_checks_that_fit,
)
from dfkd.jobs.probe_cache import obtain_probe_set, probe_hash
from dfkd.jobs.ray_cluster import connected
from dfkd.jobs.rehearsal import embed_all, rehearse, rehearse_untrained
from dfkd.jobs.running import Running
from dfkd.jobs.search_folder import (
    HOME_STORAGE,
    TRIAL_RECORDS,
    SearchFolder,
    find_search_folder,
    new_search_folder,
    storage_for,
)
from dfkd.jobs.search_listener import SearchListener
from dfkd.jobs.search_options import SearchOptions
from dfkd.jobs.story import last_screen, outcome_as_json
from dfkd.jobs.surroundings import default_storage
from dfkd.jobs.teacher import obtain_teacher
from dfkd.jobs.trial_records import TrialRecords
from dfkd.search.optuna_space import (
    open_study,
    reported_values,
    settled_params,
    stale_params,
    study_storage,
)
from dfkd.search.space import CHECK_WORKERS, SearchSpace
from dfkd.settings.identity import flatten, shareable, shareable_search
from dfkd.tasks.further_objectives import PREFIX, check_data
from dfkd.teachers import try_weights
from dfkd.tracking.connection import check_reachable
from dfkd.tracking.home import open_home, resolve_tracking_uri
from dfkd.tracking.mlflow_tracker import MlflowTracking
from dfkd.tracking.protocol import Tracker


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
    try_weights(space.resolve({}).teacher)
    check_reachable(tracking_uri)
    with connected():
        check_cluster(space, tracking_uri=tracking_uri, storage=storage_for(options.storage, earlier))
        space = with_checks_that_fit(space, console)
        data = load_dataset(space.resolve({}).dataset)
        check_objective(space.settings.objective, space.resolve({}), data)
        folder = earlier or new_search_folder(home, space)
        storage = obtain_storage(options, folder)
        trials, metrics = space.settings.trials, " and ".join(space.settings.goals)
        console.say(f"search {folder.search_id}: {trials} trials, selected on {metrics}")
        materials = obtain_materials(space, options, data, home=home, tracking_uri=tracking_uri, console=console)
        if space.settings.tracking.is_sensitive:  # what needs the names has had them
            space, data = space.told, data.without_class_names()
        assert materials.probe is not None
        folder.pin(teacher_hash=materials.teacher.hash, probe_hash=probe_hash(materials.probe))
        with MlflowTracking(tracking_uri, home, folder.search_id) as tracking:
            running = Running(
                space=space,
                folder=folder,
                storage=storage,
                tracking_uri=tracking_uri,
                objective=objective_of(space),
                materials=materials,
                data=data,
                records=TrialRecords(folder.path / TRIAL_RECORDS),
                tracking=tracking,
                console=console,
            )
            parent = open_parent(running)
            check_workers(running)
            floor = find_floor(running) if has_room_beside(running) else None
            repeat_default(running)
            search_trials(running)
            outcome = conclude(running, parent, floor or find_floor(running))
            parent.close("FINISHED")
            run_url = tracking.run_url()
    folder.note(finished_trials=trials, student=outcome.registered.uri)
    remove_leftovers(running, outcome.choice)
    if json_file:
        json_file.write_text(outcome_as_json(running, outcome, seconds=console.seconds))
    console.show(last_screen(outcome, tracking_uri=tracking_uri, run_url=run_url, seconds=console.seconds))
    return outcome


def obtain_storage(options: SearchOptions, folder: SearchFolder) -> str:
    """Return where checkpoints go; a search that goes on finds those that it left.

    Raises:
        OSError: it cannot be written.
        ValueError: it is not where the search began.
    """
    begun: str | None = folder.facts().get("storage")  # what the environment says is for searches that begin
    if options.storage is None and begun is not None:
        storage = begun
    elif (given := options.storage or default_storage()) is None:
        storage = HOME_STORAGE
    else:
        storage = resolve_storage(given, name=folder.search_id)
    folder.pin(storage=storage)
    return str(folder.path) if storage == HOME_STORAGE else storage


def obtain_materials(
    space: SearchSpace, options: SearchOptions, data: RealData, *, home: Path, tracking_uri: str, console: Console
) -> Materials:
    """Return what all trials share: the teacher, its probe set, and real images for reports.

    Raises:
        ValueError: some trial could not run.
    """
    settings, experiments = space.resolve({}), [space.resolve({}), *space.corner_settings()]
    label_embeddings = embed_all(experiments, data.class_names)
    images = load_images(settings, data)
    rehearse_untrained(experiments, data, images=images, label_embeddings=label_embeddings)
    teacher = obtain_teacher(
        settings,
        data,
        home=home,
        tracking_uri=tracking_uri,
        console=console,
        retrain=options.retrain_teacher,
        sensitive=space.settings.tracking.is_sensitive,
    )
    materials = Materials(
        teacher=teacher,
        validation=data.validation,
        images=images,
        label_embeddings=label_embeddings,
    )
    rehearse(experiments, materials, data)
    check_data(space.settings.further_objectives, teacher)
    console.say("probe set: making an exam from the teacher alone, or reading it if it was made before")
    return replace(materials, probe=obtain_probe_set(teacher, home))


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


def open_parent(running: Running) -> Tracker:
    """Open the search's own run and record what is known before the first trial."""
    space, teacher = running.space, running.materials.teacher
    parent = running.tracking.open_parent(
        space.settings.name, running.folder.search_id, {"dfkd.kind": "search", "dfkd.teacher_hash": teacher.hash}
    )
    running.console.say(f"MLflow: {running.tracking.run_url()}")
    settings = space.resolve({})
    parent.log_params(
        flatten(shareable(settings))
        | {"sampler": space.settings.sampler.name, "sampler_seed": space.settings.sampler.seed}
    )
    # Tags and not params, which cannot change: a search may go on under another commit.
    parent.set_tags({"commit": commit()} | {f"version.{name}": version for name, version in versions().items()})
    log_student_inputs(parent, settings, running.data, running.materials, metric=running.objective.metric)
    parent.log_artifact("search_space.json", json.dumps(shareable_search(space.settings), indent=1).encode())
    parent.log_artifact("default_settings.json", json.dumps(shareable(settings), indent=1).encode())
    return parent


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
    running.records.settle(settled_params(study))
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

"""The main job: one search from its space to the registered student. Reads from top to bottom as it runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from dfkd.assembly import Materials, load_images
from dfkd.data import load_dataset
from dfkd.data.real_data import RealData
from dfkd.jobs.command import open_output
from dfkd.jobs.console import Console
from dfkd.jobs.dataset_inputs import log_student_inputs
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.last_screen import last_screen
from dfkd.jobs.leftovers import remove_leftovers
from dfkd.jobs.outcome import Outcome, conclude
from dfkd.jobs.outcome_file import outcome_as_json
from dfkd.jobs.phases import check_workers, find_floor, has_room_beside, objective_of, repeat_default, search_trials
from dfkd.jobs.preparation import (
    check_cluster,
    check_objective,
    resolve_storage,
    try_storage,
    with_checks_that_fit,
)
from dfkd.jobs.probe_cache import obtain_probe_set, probe_hash
from dfkd.jobs.ray_cluster import connected
from dfkd.jobs.rehearsal import embed_all, rehearse, rehearse_untrained
from dfkd.jobs.running import Running
from dfkd.jobs.search_folder import (
    HOME_STORAGE,
    NO_CHECKPOINTS,
    REMOVING,
    TRIAL_RECORDS,
    SearchFolder,
    find_search_folder,
    new_search_folder,
    only_search,
    storage_for,
)
from dfkd.jobs.search_options import SearchOptions
from dfkd.jobs.surroundings import default_storage
from dfkd.jobs.teacher import obtain_teacher, try_given_teacher
from dfkd.jobs.trial_records import TrialRecords
from dfkd.search.space import SearchSpace
from dfkd.settings.identity import flatten, shareable, shareable_search
from dfkd.tasks.further_objectives import check_data
from dfkd.tracking.connection import check_reachable
from dfkd.tracking.home import is_local_store, open_home, resolve_tracking_uri
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
    with only_search(home, space.settings.name):
        return _search(space, options, console, home)


def _search(space: SearchSpace, options: SearchOptions, console: Console, home: Path) -> Outcome:
    tracking_uri = resolve_tracking_uri(options.tracking_uri, home=home)
    earlier = find_search_folder(home, space) if options.resume else None
    json_file = open_output(options.json_file)
    shared = storage_for(options.storage, earlier)
    if shared is not None:
        try_storage(shared)
    try_given_teacher(space.resolve({}), tracking_uri)
    check_reachable(tracking_uri)
    with connected():
        check_cluster(space, tracking_uri=tracking_uri, storage=shared)
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
            outcome = run_phases(running)
            run_url = tracking.run_url()
    clear_away(running, outcome)
    if json_file:
        json_file.write_text(outcome_as_json(running, outcome, seconds=console.seconds))
    console.show(last_screen(outcome, tracking_uri=tracking_uri, run_url=run_url, seconds=console.seconds))
    return outcome


def run_phases(running: Running) -> Outcome:
    """Run everything that a search runs, in its order, and return what it ended with."""
    parent = open_parent(running)
    check_workers(running)
    floor = find_floor(running) if has_room_beside(running) else None
    repeat_default(running)
    search_trials(running)
    outcome = conclude(running, parent, floor or find_floor(running))
    parent.close("FINISHED")
    return outcome


def clear_away(running: Running, outcome: Outcome) -> None:
    """Note that the search has ended, and remove what nobody needs after it."""
    settings = running.space.settings
    removal = {NO_CHECKPOINTS: REMOVING} if settings.tracking.is_sensitive else {}
    running.folder.note(finished_trials=settings.trials, student=outcome.registered.uri, **removal)
    remove_leftovers(running, outcome.choice)


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
    check_data(space.settings.further_objectives, teacher, images=data.validation)
    console.say("probe set: making an exam from the teacher alone, or reading it if it was made before")
    return replace(materials, probe=obtain_probe_set(teacher, home))


def open_parent(running: Running) -> Tracker:
    """Open the search's own run and record what is known before the first trial."""
    space, teacher = running.space, running.materials.teacher
    parent = running.tracking.open_parent(
        space.settings.name, running.folder.search_id, {"dfkd.kind": "search", "dfkd.teacher_hash": teacher.hash}
    )
    later = " (once its UI runs: the last screen has the command)" if is_local_store(running.tracking_uri) else ""
    running.console.say(f"MLflow: {running.tracking.run_url()}{later}")
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

"""What a command would do, and about how long it would take: nothing is trained, tracked or registered."""

from __future__ import annotations

from dfkd.assembly import build_student
from dfkd.config import look_up
from dfkd.jobs.console import Console, duration
from dfkd.jobs.distill_options import DistillOptions
from dfkd.jobs.distillation_folder import known_storage
from dfkd.jobs.dry_run_checks import NEW_NAME, Checked, check_distillation, check_search
from dfkd.jobs.epoch_seconds import EpochSeconds, time_epochs
from dfkd.jobs.plan_lines import (
    Line,
    at_once_here,
    at_once_in_words,
    data_in_words,
    device_in_words,
    epochs_in_words,
    range_in_words,
    show_plan,
)
from dfkd.jobs.search_folder import TRIAL_RECORDS, SearchFolder, storage_for
from dfkd.jobs.search_options import SearchOptions
from dfkd.jobs.students import count_parameters
from dfkd.jobs.time_left import seconds_left
from dfkd.jobs.trial_records import TrialRecords
from dfkd.search.space import CHECK_WORKERS, SearchSpace
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import to_dict
from dfkd.tracking.credentials import without_credentials
from dfkd.tracking.home import open_home, resolve_tracking_uri


def show_search_plan(space: SearchSpace, options: SearchOptions, console: Console) -> None:
    """Print what a search would do: trials, workers, teacher, data, objective, where it writes, how long it takes.

    Raises:
        ValueError, ConnectionError, OSError: as ``check_search``.
    """
    home = open_home(options.home)
    tracking_uri = resolve_tracking_uri(options.tracking_uri, home=home)
    checked, earlier = check_search(space, options, home=home, tracking_uri=tracking_uri)
    settings, searched = space.resolve({}), space.settings
    ended = _ended_trials(earlier) if earlier else 0
    lines, seconds = _experiment(settings, checked, console, threads=1)
    trials_at_once = at_once_here(settings, searched.concurrency)
    check = space.checks_workers and not ended
    left = seconds_left(
        mean_seconds=seconds.of_run(settings),
        running=[],
        to_start=searched.trials - ended - check,
        concurrency=trials_at_once or 1,
    )
    if check:  # alone; that two workers share its steps is not counted on: on few cores they gain little
        left += seconds.of_run(settings, learning_epochs=searched.workers_check_epochs)
    checks = [f"1 with {CHECK_WORKERS} workers on Ray Train"] if space.checks_workers else []
    checks += [f"{searched.seed_repeats} of the default settings under other seeds"] if searched.seed_repeats else []
    by_sampler = searched.trials - space.reserved_trials
    checks += [f"{by_sampler} searched by {searched.sampler.in_words(by_sampler)}"]
    folder = earlier.path if earlier else f"{home}/searches/{searched.name}-<time>"
    storage = storage_for(options.storage, earlier) or f"{home}/searches"
    before = f", {ended} of which have ended" if ended else ""
    lines = [
        ("trials", f"{searched.trials} ({', '.join(checks)}){before}; {at_once_in_words(trials_at_once)}"),
        *lines,
        ("objective", f"{', '.join(f'{name} ({goal})' for name, goal in searched.goals.items())}"),
        ("needs", searched.objective.needs),
        *_ranges(space),
        ("MLflow", f"experiment '{searched.name}' at {without_credentials(tracking_uri)}"),
        ("registers", f"models:/{searched.name}, champion by promotion: {searched.promotion}"),
        ("writes", f"{folder}: study and records; checkpoints under {storage}"),
        *_outcome(options.json_file),
        ("time", f"about {duration(left)} for the trials, {seconds.sentence()}"),
        ("", "besides: the teacher if it is to be trained, the probe set, the noise floor, the start of Ray"),
    ]
    show_plan(f"plan of the search '{searched.name}'", lines, console)


def show_distillation_plan(settings: ExperimentSettings, options: DistillOptions, console: Console) -> None:
    """Print what a distillation would do.

    Raises:
        ValueError, ConnectionError, OSError: as ``check_distillation``.
    """
    home = open_home(options.home)
    tracking_uri = resolve_tracking_uri(options.tracking_uri, home=home)
    checked = check_distillation(settings, options, home=home, tracking_uri=tracking_uri)
    lines, seconds = _experiment(settings, checked, console, threads=None if settings.workers == 1 else 1)
    also = [("also", "the teacher itself, pruned and in int8")] if options.compress_teacher else []
    folder = home / "distillations" / (options.name or NEW_NAME)
    shared = options.storage or known_storage(folder)
    under = f"; checkpoints under {shared}" if shared else ""
    lines += [
        ("judged by", ", ".join(settings.tasks)),
        *also,
        ("MLflow", f"experiment 'distillations' at {without_credentials(tracking_uri)}"),
        ("writes", f"{folder}{under}"),
        *_outcome(options.json_file),
        ("time", f"about {duration(seconds.of_run(settings))} of distillation, {seconds.sentence()}"),
    ]
    show_plan("plan of the distillation", lines, console)


def _experiment(
    settings: ExperimentSettings, checked: Checked, console: Console, *, threads: int | None
) -> tuple[list[Line], EpochSeconds]:
    """Return what a run of these settings is made of, and how long its epochs take."""
    data, materials = checked.data, checked.materials
    console.say("timing an epoch of each kind with the default settings")
    seconds = time_epochs(settings, materials, threads=threads)
    student = count_parameters(build_student(settings, materials.teacher))
    return [
        ("workers", f"{settings.workers} a run, each with {device_in_words(settings)}"),
        ("teacher", checked.teacher_in_words),
        ("student", f"{settings.student.network}, {student:,} parameters"),
        ("data", data_in_words(data)),
        ("method", settings.synthesis.TITLE),
        ("epochs", epochs_in_words(settings)),
    ], seconds


def _ended_trials(folder: SearchFolder) -> int:
    records = TrialRecords(folder.path / TRIAL_RECORDS).all()
    return sum(record.status in ("complete", "stopped", "failed") for record in records)


def _ranges(space: SearchSpace) -> list[Line]:
    default = to_dict(space.resolve({}))
    return [
        ("" if place else "searched", f"{path}: {range_in_words(parameter)} (default {look_up(default, path)})")
        for place, (path, parameter) in enumerate(space.settings.parameters.items())
    ]


def _outcome(json_file: str | None) -> list[Line]:
    return [] if json_file is None else [("", f"the outcome to {json_file}")]

"""What a command would do, and about how long it would take: nothing is trained, tracked or registered."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from dfkd.assembly import Materials, build_student, load_images
from dfkd.config import look_up
from dfkd.data import load_dataset
from dfkd.data.real_data import RealData
from dfkd.jobs.console import Console, duration
from dfkd.jobs.epoch_seconds import EpochSeconds, time_epochs
from dfkd.jobs.preparation import check_objective
from dfkd.jobs.rehearsal import embed_all, rehearse, untrained_teacher
from dfkd.jobs.search_folder import TRIAL_RECORDS, find_search_folder
from dfkd.jobs.search_options import SearchOptions
from dfkd.jobs.students import count_parameters
from dfkd.jobs.teacher import read_teacher, teacher_name, trained_before, training_key
from dfkd.jobs.time_left import seconds_left
from dfkd.jobs.trial_records import TrialRecords
from dfkd.search.space import CHECK_WORKERS, SearchSpace
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import to_dict
from dfkd.settings.search import CategoricalChoices, ObjectiveSettings, ParameterRange
from dfkd.teachers import Teacher
from dfkd.tracking.connection import check_reachable
from dfkd.tracking.credentials import without_credentials
from dfkd.tracking.home import open_home, resolve_tracking_uri
from dfkd.tracking.registry_reading import find_teacher

Line = tuple[str, str]


def show_search_plan(space: SearchSpace, options: SearchOptions, console: Console) -> None:
    """Print what a search would do: trials, workers, teacher, data, objective, where it writes, how long it takes.

    Raises:
        ValueError: some trial could not run.
    """
    home = open_home(options.home)
    tracking_uri = resolve_tracking_uri(options.tracking_uri, home=home)
    settings, experiments = space.resolve({}), [space.resolve({}), *space.corner_settings()]
    ended = _ended_trials(space, home) if options.resume else 0
    searched = space.settings
    lines, seconds = _prepare(
        experiments, tracking_uri, console, objective=searched.objective, retrain=options.retrain_teacher, threads=1
    )
    trials_at_once = _at_once(settings, searched.concurrency)
    left = seconds_left(
        mean_seconds=seconds.of_run(settings),
        running=[],
        to_start=searched.trials - ended,
        concurrency=trials_at_once or 1,
    )
    checks = [f"1 with {CHECK_WORKERS} workers on Ray Train"] if space.checks_workers else []
    checks += [f"{searched.seed_repeats} of the default settings under other seeds"] if searched.seed_repeats else []
    checks += [f"{searched.trials - space.reserved_trials} searched by {searched.sampler.name}"]
    storage = options.storage or f"{home}/searches"
    at_once = f"{trials_at_once} at a time here" if trials_at_once else "as many at a time as the cluster allows"
    before = f", {ended} of which have ended" if ended else ""
    lines = [
        ("trials", f"{searched.trials} ({', '.join(checks)}){before}; {at_once}"),
        *lines,
        ("objective", f"{', '.join(f'{name} ({goal})' for name, goal in searched.goals.items())}"),
        ("needs", searched.objective.needs),
        *_ranges(space),
        ("MLflow", f"experiment '{searched.name}' at {without_credentials(tracking_uri)}"),
        ("registers", f"models:/{searched.name}, champion by promotion: {searched.promotion}"),
        ("writes", f"{home}/searches/{searched.name}-<time>: study and records; checkpoints under {storage}"),
        ("time", f"about {duration(left)} for the trials, {seconds.sentence()}"),
        ("", "besides: the teacher if it is to be trained, the probe set, the noise floor, the start of Ray"),
    ]
    _show(f"plan of the search '{searched.name}'", lines, console)


def show_distillation_plan(
    settings: ExperimentSettings, *, name: str | None, home: str | None, tracking_uri: str | None, console: Console
) -> None:
    """Print what a distillation would do.

    Raises:
        ValueError: it could not run.
    """
    folder = open_home(home)
    address = resolve_tracking_uri(tracking_uri, home=folder)
    lines, seconds = _prepare([settings], address, console, threads=None if settings.workers == 1 else 1)
    lines += [
        ("judged by", ", ".join(settings.tasks)),
        ("MLflow", f"experiment 'distillations' at {without_credentials(address)}"),
        ("writes", f"{folder}/distillations/{name or '<a new name>'}"),
        ("time", f"about {duration(seconds.of_run(settings))} of distillation, {seconds.sentence()}"),
    ]
    _show("plan of the distillation", lines, console)


def _prepare(
    experiments: Sequence[ExperimentSettings],
    tracking_uri: str,
    console: Console,
    *,
    threads: int | None,
    objective: ObjectiveSettings | None = None,
    retrain: bool = False,
) -> tuple[list[Line], EpochSeconds]:
    """Put every experiment together as its command would; return what they share in words, and the seconds."""
    settings = experiments[0]
    data = load_dataset(settings.dataset)
    if objective is not None:
        check_objective(objective, settings, data)
    vectors = embed_all(experiments, data.class_names)
    teacher, in_words = _teacher(settings, data, tracking_uri, retrain=retrain)
    materials = Materials(
        teacher=teacher, validation=data.validation, images=load_images(settings, data), label_embeddings=vectors
    )
    rehearse(experiments, materials, data)
    console.say("timing an epoch of each kind with the default settings")
    seconds = time_epochs(settings, materials, threads=threads)
    student = count_parameters(build_student(settings, teacher))
    steps = f"{settings.distillation.steps_per_epoch} steps of {settings.distillation.batch_size} images"
    images = ", ".join(f"{name} {len(split):,}" for name, split in data.splits.items()) or "no images"
    device = "a GPU" if _uses_gpu(settings) else "a CPU"
    return [
        ("workers", f"{settings.workers} a run, each with {device}"),
        ("teacher", in_words),
        ("student", f"{settings.student.network}, {student:,} parameters"),
        ("data", f"{data.title}: {images}; {'x'.join(map(str, data.image_shape))}, {data.num_classes} classes"),
        ("method", settings.synthesis.TITLE),
        ("epochs", f"{settings.warm_up_epochs} of warm-up, {settings.distillation.epochs} of {steps}"),
    ], seconds


def _teacher(settings: ExperimentSettings, data: RealData, tracking_uri: str, *, retrain: bool) -> tuple[Teacher, str]:
    """Return the teacher, or an untrained network in its place where it is to be trained, and which it is in words."""
    if settings.teacher.weights is not None:
        teacher = read_teacher(settings.teacher, data, tracking_uri)
        return teacher, f"{teacher.provenance} ({_size(teacher)})"
    if data.train is None:
        raise ValueError("teacher: it is to be trained, and there are no training images. Give teacher.weights.")
    if not retrain and not _is_new(tracking_uri):
        check_reachable(tracking_uri)
        if (uri := find_teacher(tracking_uri, training_key(settings, data))) is not None:
            teacher = read_teacher(trained_before(settings, data, uri), data, tracking_uri)
            return teacher, f"{uri}, trained before ({_size(teacher)})"
    assert settings.teacher.architecture is not None
    teacher = untrained_teacher(settings.teacher.architecture, data)
    epochs = settings.teacher.training.epochs
    words = f"to be trained for {epochs} epochs and registered as models:/{teacher_name(data)} ({_size(teacher)})"
    return teacher, words


def _size(teacher: Teacher) -> str:
    return f"{teacher.architecture}, {count_parameters(teacher.model):,} parameters"


def _is_new(tracking_uri: str) -> bool:
    """Whether the address is that of a local store that does not exist, and would be created by a look into it."""
    return tracking_uri.startswith("sqlite:///") and not Path(tracking_uri.removeprefix("sqlite:///")).exists()


def _ended_trials(space: SearchSpace, home: Path) -> int:
    records = TrialRecords(find_search_folder(home, space).path / TRIAL_RECORDS).all()
    return sum(record.status in ("complete", "stopped", "failed") for record in records)


def _uses_gpu(settings: ExperimentSettings) -> bool:
    return settings.device == "cuda" or (settings.device == "auto" and torch.cuda.is_available())


def _at_once(settings: ExperimentSettings, wanted: int | None) -> int | None:
    """Return how many trials run at a time on this machine; None where a cluster decides."""
    if os.environ.get("RAY_ADDRESS"):
        return wanted
    devices = torch.cuda.device_count() if _uses_gpu(settings) else os.cpu_count() or 1
    return max(1, min(devices // settings.workers, wanted or devices))


def _ranges(space: SearchSpace) -> list[Line]:
    default = to_dict(space.resolve({}))
    return [
        ("" if place else "searched", f"{path}: {_in_words(parameter)} (default {look_up(default, path)})")
        for place, (path, parameter) in enumerate(space.settings.parameters.items())
    ]


def _in_words(parameter: ParameterRange) -> str:
    if isinstance(parameter, CategoricalChoices):
        return ", ".join(map(str, parameter.choices))
    return f"{parameter.low:g} to {parameter.high:g}, {parameter.type.replace('_', ' ')}"


def _show(title: str, lines: Sequence[Line], console: Console) -> None:
    console.show("\n".join([f"{title}; nothing was started", *(f"  {name:<10} {words}" for name, words in lines)]))

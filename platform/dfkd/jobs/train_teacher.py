"""The job of ``experiments/train_teacher.py``: a teacher in the registry, and in a file if one is wanted."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from dfkd.assembly import choose_device
from dfkd.cluster.worker import describe_device
from dfkd.data import load_dataset
from dfkd.data.real_data import RealData
from dfkd.jobs.command import open_output
from dfkd.jobs.console import Console
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.plain_json import plain_json
from dfkd.jobs.teacher import accuracy, find_existing_teacher, held_out, obtain_teacher, training_key
from dfkd.settings.checks import check_name
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import shareable
from dfkd.settings.search import TrackingSettings
from dfkd.teachers import Teacher, save_teacher
from dfkd.tracking.connection import check_reachable
from dfkd.tracking.home import open_home, resolve_tracking_uri


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainTeacherOptions:
    """Options of ``experiments/train_teacher.py``: see its ``--help``."""

    home: str | None = None
    tracking_uri: str | None = None
    name: str | None = None
    retrain: bool = False
    save: str | None = None
    json_file: str | None = None
    tracking: TrackingSettings = field(default_factory=TrackingSettings)

    def __post_init__(self) -> None:
        if self.name is not None:
            check_name("--name", self.name)


def run_teacher_training(settings: ExperimentSettings, options: TrainTeacherOptions, console: Console) -> Teacher:
    """Train the teacher of the settings, unless it exists, and write its file if one is wanted."""
    home = open_home(options.home)
    tracking_uri = resolve_tracking_uri(options.tracking_uri, home=home)
    save_file = open_output(options.save, option="--save")
    json_file = open_output(options.json_file)
    check_reachable(tracking_uri)
    data, began = load_dataset(settings.dataset), time.monotonic()
    trained = find_existing_teacher(settings, data, tracking_uri=tracking_uri, retrain=options.retrain) is None
    whole = trained and (options.retrain or not (home / "teachers" / training_key(settings, data)).exists())
    teacher = obtain_teacher(
        settings,
        data,
        home=home,
        tracking_uri=tracking_uri,
        console=console,
        name=options.name,
        retrain=options.retrain,
        sensitive=options.tracking.is_sensitive,
    )
    if save_file:
        save_teacher(save_file, teacher)
        console.say(f"teacher: written to {save_file}")
    if json_file:
        settings = settings.without_class_names() if options.tracking.is_sensitive else settings
        _write_json(json_file, settings, data, teacher, seconds=time.monotonic() - began if whole else None)
        console.say(f"teacher: its scores are in {json_file}")
    return teacher


def _write_json(
    file: Path, settings: ExperimentSettings, data: RealData, teacher: Teacher, *, seconds: float | None
) -> None:
    """Write what the teacher is worth.

    ``seconds`` are those of its training, registration included; None where this command did not train it from its
    beginning to its end.
    """
    device, known = choose_device(settings), shareable(settings)
    facts = {
        "teacher": known["teacher"],
        "dataset": known["dataset"],
        "hash": teacher.hash,
        "accuracy": {split: accuracy(teacher, images, device) for split, images in held_out(data).items()},
        "training_seconds": seconds,
        "commit": commit(),
        "versions": versions(),
        "cpu_count": os.cpu_count(),
        "device": describe_device(device),
    }
    file.write_text(plain_json(facts))

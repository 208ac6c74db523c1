"""The job of ``experiments/train_teacher.py``: a teacher in the registry, and in a file if one is wanted."""

from __future__ import annotations

from dataclasses import dataclass, field

from dfkd.data import load_dataset
from dfkd.jobs.command import open_output
from dfkd.jobs.console import Console
from dfkd.jobs.teacher import obtain_teacher
from dfkd.settings.checks import check_name
from dfkd.settings.experiment import ExperimentSettings
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
    tracking: TrackingSettings = field(default_factory=TrackingSettings)

    def __post_init__(self) -> None:
        if self.name is not None:
            check_name("--name", self.name)


def run_teacher_training(settings: ExperimentSettings, options: TrainTeacherOptions, console: Console) -> Teacher:
    """Train the teacher of the settings, unless it exists, and write its file if one is wanted."""
    home = open_home(options.home)
    tracking_uri = resolve_tracking_uri(options.tracking_uri, home=home)
    save_file = open_output(options.save, option="--save")
    check_reachable(tracking_uri)
    teacher = obtain_teacher(
        settings,
        load_dataset(settings.dataset),
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
    return teacher

"""The folder of one distillation: its settings, and where its checkpoints lie. A name belongs to both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dfkd.jobs.surroundings import default_storage
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import settings_key, to_dict

CHECKPOINTS_FILE = "checkpoints.txt"  # in a run's folder: where its checkpoints lie
RUN_FOLDER = "its own folder"  # where they lie without a storage: in words, since a home may be moved
SETTINGS_FILE = "settings.json"  # in the folder of a run


def open_run_folder(folder: Path, settings: ExperimentSettings) -> Path:
    """Return the folder of a run, new or to go on with.

    Raises:
        ValueError: a run of this name had other settings; its checkpoints would be taken for this one's.
    """
    known = check_run_folder(folder, settings)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS_FILE).write_text(json.dumps(known, indent=1))
    return folder


def check_run_folder(folder: Path, settings: ExperimentSettings) -> dict[str, Any]:
    """Return the settings that a run was begun with, or these if it is new; raise as ``open_run_folder``."""
    file = folder / SETTINGS_FILE
    known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else to_dict(settings)
    if settings_key(known) != settings_key(settings):
        raise ValueError(f"--name: '{folder.name}' was begun with other settings ({file}). Take another name.")
    return known


def known_storage(folder: Path) -> str | None:
    """Return the storage that a run of this folder goes on with: where it began, else what the environment says."""
    file = folder / CHECKPOINTS_FILE
    if not file.exists():
        return default_storage()
    place = file.read_text()
    return None if place == RUN_FOLDER else place.removesuffix(f"/{folder.name}")


def pin_checkpoints(folder: Path, place: str) -> None:
    """Remember where a run keeps its checkpoints: a folder or URI, or ``RUN_FOLDER``.

    Raises:
        ValueError: it began elsewhere, and would begin again here.
    """
    file = folder / CHECKPOINTS_FILE
    known = file.read_text() if file.exists() else place
    if known != place:
        raise ValueError(
            f"--storage: '{folder.name}' keeps its checkpoints at '{known}', not at '{place}'. Leave it out to go on, "
            "or take another --name."
        )
    file.write_text(place)

"""What a search need not keep once its student is registered: the losers' checkpoints, and Ray's own folders."""

from __future__ import annotations

from dfkd.cluster.checkpoints import RAY_TRAIN, RAY_TUNE, remove_folder
from dfkd.cluster.trial import TRIALS
from dfkd.jobs.choice import Choice
from dfkd.jobs.console import first_line
from dfkd.jobs.floor import NOISE_FLOOR
from dfkd.jobs.probe_cache import forget_probe_set
from dfkd.jobs.running import Running
from dfkd.jobs.search_folder import NO_CHECKPOINTS, REMOVED, REMOVING


def remove_leftovers(running: Running, choice: Choice) -> None:
    """Remove the checkpoints of trials that can no longer be chosen, and what Ray Tune and Ray Train wrote.

    A search that goes on with more trials chooses among them, the best until now and the default settings, whose
    checkpoints stay; with several objectives, the whole front's. Of a sensitive search nothing stays that holds
    synthetic images. What cannot be removed is told in a line.
    """
    if running.space.settings.tracking.is_sensitive:
        _remove_images(running)
        return
    plan = running.plan()
    needed = {record.key for record in (choice.record, choice.best, choice.default) if record is not None}
    needed |= set(choice.front.keys) if choice.front else set()
    lost = [record.key for record in running.records.all() if record.key not in needed]
    folders = [plan.folder_of(key) for key in lost]
    folders += [f"{plan.folder_of(key)}/{RAY_TRAIN}" for key in needed] + [f"{running.storage.rstrip('/')}/{RAY_TUNE}"]
    _remove(running, folders)


def _remove_images(running: Running) -> None:
    """Remove all that holds synthetic images: every checkpoint, with the banks in them, and the probe set."""
    running.folder.note(**{NO_CHECKPOINTS: REMOVING})
    gone = _remove(running, [f"{running.storage.rstrip('/')}/{name}" for name in (TRIALS, NOISE_FLOOR, RAY_TUNE)])
    forget_probe_set(running.materials.teacher.hash, running.folder.home)
    if gone:
        running.folder.note(**{NO_CHECKPOINTS: REMOVED})


def _remove(running: Running, folders: list[str]) -> bool:
    """Remove folders, and return whether all are gone."""
    gone = True
    for folder in folders:
        try:
            remove_folder(folder)
        except OSError as error:
            running.console.say(f"'{folder}' is needed no more and cannot be removed: {first_line(error)}")
            gone = False
    return gone

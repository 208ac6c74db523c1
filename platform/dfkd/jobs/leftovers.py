"""What a search need not keep once its student is registered: the losers' checkpoints, and Ray's own folders."""

from __future__ import annotations

from dfkd.cluster.checkpoints import RAY_TRAIN, RAY_TUNE, remove_folder
from dfkd.jobs.choice import Choice
from dfkd.jobs.console import first_line
from dfkd.jobs.running import Running


def remove_leftovers(running: Running, choice: Choice) -> None:
    """Remove the checkpoints of trials that can no longer be chosen, and what Ray Tune and Ray Train wrote.

    A search that goes on with more trials chooses among them, the best until now and the default settings, whose
    checkpoints stay; with several objectives, the whole front's. What cannot be removed is told in a line.
    """
    plan = running.plan()
    needed = {record.key for record in (choice.record, choice.best, choice.default) if record is not None}
    needed |= set(choice.front.keys) if choice.front else set()
    lost = [record.key for record in running.records.all() if record.key not in needed]
    folders = [plan.folder_of(key) for key in lost]
    folders += [f"{plan.folder_of(key)}/{RAY_TRAIN}" for key in needed] + [f"{running.storage.rstrip('/')}/{RAY_TUNE}"]
    for folder in folders:
        try:
            remove_folder(folder)
        except OSError as error:
            running.console.say(f"'{folder}' is needed no more and cannot be removed: {first_line(error)}")

"""What a student is judged by on real images: one task a file, all of them in ``TASKS``."""

from __future__ import annotations

from collections.abc import Iterable

from dfkd.settings.checks import check_choice
from dfkd.tasks.accuracy import accuracy
from dfkd.tasks.agreement import agreement
from dfkd.tasks.binary import binary
from dfkd.tasks.confusion import confusion_matrix
from dfkd.tasks.protocol import Task, TaskInput

__all__ = ["TASKS", "Task", "TaskInput", "confusion_matrix", "evaluate"]

TASKS: dict[str, Task] = {"accuracy": accuracy, "agreement": agreement, "binary": binary}


def evaluate(names: Iterable[str], task_input: TaskInput) -> dict[str, float]:
    """Return the metrics of all the named tasks.

    Raises:
        ValueError: if a task is unknown or does not suit the data.
    """
    metrics: dict[str, float] = {}
    for name in names:
        check_choice("tasks", name, tuple(TASKS))
        metrics |= TASKS[name](task_input)
    return metrics

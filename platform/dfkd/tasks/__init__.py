"""What a student is judged by on real images: one task a file.

``TASKS`` need a student, its teacher and a set of images. Those that train something on data of their own are in
``transfer_tasks``.
"""

from __future__ import annotations

from collections.abc import Iterable

from dfkd.settings.checks import check_choice
from dfkd.settings.objectives import WITHOUT_LABELS
from dfkd.tasks.accuracy import accuracy
from dfkd.tasks.agreement import agreement
from dfkd.tasks.backdoor import backdoor
from dfkd.tasks.binary import binary
from dfkd.tasks.calibration import calibration
from dfkd.tasks.confusion import confusion_matrix
from dfkd.tasks.corruption import corruption
from dfkd.tasks.privacy import privacy
from dfkd.tasks.protocol import Task, TaskInput
from dfkd.tasks.representation import representation

__all__ = ["TASKS", "WITHOUT_LABELS", "Task", "TaskInput", "confusion_matrix", "evaluate"]

TASKS: dict[str, Task] = {
    "accuracy": accuracy,
    "agreement": agreement,
    "binary": binary,
    "calibration": calibration,
    "representation": representation,
    "corruption": corruption,
    "backdoor": backdoor,
    "privacy": privacy,
}


def evaluate(names: Iterable[str], task_input: TaskInput) -> dict[str, float]:
    """Return the metrics of all the named tasks; of images without labels, those of the tasks that need none.

    Raises:
        ValueError: if a task is unknown or does not suit the data.
    """
    metrics: dict[str, float] = {}
    for name in names:
        check_choice("tasks", name, tuple(TASKS))
        if task_input.images.labels is not None or name in WITHOUT_LABELS:
            metrics |= TASKS[name](task_input)
    return metrics

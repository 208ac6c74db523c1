"""Every task on other data by name, and how one is run."""

from __future__ import annotations

from dfkd.settings.tasks import TransferTaskSettings, is_reportable
from dfkd.tasks.depth import depth
from dfkd.tasks.detection import detection
from dfkd.tasks.few_shot import few_shot
from dfkd.tasks.fine_tuning import fine_tuning
from dfkd.tasks.linear_probe import linear_probe
from dfkd.tasks.nearest_neighbours import nearest_neighbours
from dfkd.tasks.segmentation import segmentation
from dfkd.tasks.transfer import TransferInput, TransferTask

TRANSFER_TASKS: dict[str, TransferTask] = {
    "linear_probe": linear_probe,
    "nearest_neighbours": nearest_neighbours,
    "few_shot": few_shot,
    "fine_tuning": fine_tuning,
    "segmentation": segmentation,
    "detection": detection,
    "depth": depth,
}
PLUMBING = "plumbing/"  # what the columns of scores that are no results begin with


def transfer(name: str, settings: TransferTaskSettings, given: TransferInput) -> dict[str, float]:
    """Put a network to one task and return its metrics as columns, ``<name>/<metric>``.

    Args:
        name: what the columns begin with.
        settings: which task, on which data, by which protocol.
        given: the network.

    Raises:
        FloatingPointError: a training's loss is not finite.
        ValueError: the data cannot be had, or do not suit the task or the network.
    """
    metrics = TRANSFER_TASKS[settings.task](settings, given)
    prefix = name if is_reportable(settings) else PLUMBING + name
    return {f"{prefix}/{metric}": value for metric, value in metrics.items()}

"""Settings of the tasks that train something on data of their own: which data, by which protocol."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from dfkd.settings.checks import check_seed
from dfkd.settings.tasks.classification import (
    FewShotSettings,
    FineTuningSettings,
    LinearProbeSettings,
    NearestNeighboursSettings,
)
from dfkd.settings.tasks.dense import SCENES, DepthSettings, DetectionSettings, SegmentationSettings

__all__ = [
    "DepthSettings",
    "DetectionSettings",
    "FewShotSettings",
    "FineTuningSettings",
    "LinearProbeSettings",
    "NearestNeighboursSettings",
    "SegmentationSettings",
    "TransferSettings",
    "TransferTaskSettings",
    "is_reportable",
]

TransferTaskSettings = (
    LinearProbeSettings
    | NearestNeighboursSettings
    | FewShotSettings
    | FineTuningSettings
    | SegmentationSettings
    | DetectionSettings
    | DepthSettings
)


def is_reportable(settings: TransferTaskSettings) -> bool:
    """Whether a table of results may hold the scores: not those on generated scenes."""
    return settings.dataset.name != SCENES


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferSettings:
    """What one backbone is put to: tasks by the name that their columns begin with."""

    transfer: dict[str, TransferTaskSettings]
    path: str | None = None  # where the data of every task lie, in place of their own paths
    seed: int = 0  # of heads, batches, draws, and of a backbone that was never trained
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        check_seed("seed", self.seed)
        if not self.transfer:
            raise ValueError("transfer: expected at least one task, got none.")
        for name in self.transfer:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f"transfer: expected small letters, digits and '_' for a task's name, got {name!r}.")
        if self.path is not None:
            moved = {
                name: replace(task, dataset=replace(task.dataset, path=self.path))  # type: ignore[arg-type]
                for name, task in self.transfer.items()
            }
            object.__setattr__(self, "transfer", moved)

"""Settings of a comparison's tuning: who may try how many values, and what they are judged by."""

from __future__ import annotations

from dataclasses import dataclass, field

from dfkd.settings.checks import check_at_least, check_seed, check_seeds, check_share
from dfkd.settings.objectives import TransferObjective
from dfkd.settings.search import Direction, ObjectiveSettings, SamplerSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class TuningSettings:
    """The search for "tuned" values: the same number of trials, objective and compute for every row that has ranges.

    Its teacher and seeds must not be in the table.
    """

    trials: int  # of each row; the first is the preset as it stands
    teacher: int  # its training seed
    seeds: tuple[int, ...]  # a trial's value is the mean over them
    objective: ObjectiveSettings = field(default_factory=lambda: ObjectiveSettings(metric="val_accuracy"))
    transfer: TransferObjective | None = None  # in place of it: what a student's features are worth elsewhere
    fraction: float = 1.0  # of the budget, for every run of a trial
    sampler: SamplerSettings = field(default_factory=SamplerSettings)

    def __post_init__(self) -> None:
        check_at_least("trials", self.trials, 1)
        check_seed("teacher", self.teacher)
        check_seeds("seeds", self.seeds)
        check_share("fraction", self.fraction)

    @property
    def goal(self) -> Direction:
        """Whether the best trial has the largest or the smallest value."""
        return self.objective.goal if self.transfer is None else self.transfer.goal

    @property
    def measured_by(self) -> str:
        """What trials are judged by, in words."""
        return self.objective.metric if self.transfer is None else f"{self.transfer.by.task} {self.transfer.column}"


def share_classes(one: TransferObjective, other: TransferObjective) -> bool:
    """Whether two tasks look at images of the same classes: of the same data, wherever they lie."""
    first, second = one.by.dataset, other.by.dataset
    same_place, same_title = first.path == second.path, first.title is not None and first.title == second.title
    if first.name != second.name or not (same_place or same_title):
        return False
    classes, others = (getattr(each.by, "classes", None) for each in (one, other))
    return classes is None or others is None or (classes[0] <= others[1] and others[0] <= classes[1])

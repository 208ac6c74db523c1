"""Objectives beside a search's own one, and which point of the front that they span is registered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dfkd.settings.checks import check_choice, check_seed
from dfkd.settings.tasks import FewShotSettings, TransferTaskSettings, is_reportable

Goal = Literal["maximize", "minimize"]

#: Columns of each task; few shots have one for each number of shots.
SCORES = {
    "linear_probe": ("top1",),
    "nearest_neighbours": ("top1",),
    "fine_tuning": ("top1",),
    "segmentation": ("mean_iou", "pixel_accuracy"),
    "detection": ("map", "map_50"),
    "depth": ("delta_1", "rmse", "abs_rel"),
}
LESS_IS_BETTER = ("rmse", "abs_rel")
#: Numbers of the tasks on the experiment's own images, and which way they are better.
TASK_SCORES: dict[str, dict[str, Goal]] = {
    "representation": {"cka": "maximize", "alignment": "minimize", "uniformity": "minimize"},
    "agreement": {"top1": "maximize", "kl": "minimize"},
    "calibration": {"ece": "minimize"},
    "corruption": {"top1": "maximize"},
}
OF_FEATURES = ("representation",)  # nobody's answer is asked, so classes play no part
WITHOUT_LABELS = ("representation", "agreement")
#: A network that learnt nothing may be the best by these: equal features align; even guesses are calibrated, and nearer
#: to an unsure teacher than answers that are sure.
WITHOUT_FLOOR = ("alignment", "kl", "ece")


@dataclass(frozen=True, kw_only=True, slots=True)
class CostObjective:
    """What a student costs: its parameters, floating-point operations an image, or milliseconds an image here."""

    type: Literal["cost"] = "cost"
    of: Literal["parameters", "flops", "latency"] = "parameters"

    @property
    def goal(self) -> Goal:
        """Less is better."""
        return "minimize"


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferObjective:
    """What a student's features are worth on another task: one column of it.

    The data must lie where every node finds them. ``validation`` keeps the test images unseen; formats without
    validation images leave only ``test``, whose score is then no estimate of what the chosen student is worth.
    """

    type: Literal["transfer"] = "transfer"
    by: TransferTaskSettings
    score: str | None = None  # None: the task's first column
    split: Literal["validation", "test"] = "validation"
    seed: int = 0  # of heads, batches and draws: the same for all trials

    def __post_init__(self) -> None:
        check_choice("score", self.column, self._columns)
        check_seed("seed", self.seed)
        if not is_reportable(self.by):
            raise ValueError("by.dataset.name: drawn scenes test the plumbing, and no student is chosen by them.")

    @property
    def _columns(self) -> tuple[str, ...]:
        if isinstance(self.by, FewShotSettings):
            return tuple(f"{shots}_shot" for shots in self.by.shots)
        return SCORES[self.by.task]

    @property
    def column(self) -> str:
        """The column that counts."""
        return self.score or self._columns[0]

    @property
    def goal(self) -> Goal:
        """Which way it is better."""
        return "minimize" if self.column in LESS_IS_BETTER else "maximize"

    @property
    def is_share(self) -> bool:
        """Whether it is told in percent; errors have units of their own, such as metres."""
        return self.goal == "maximize"

    @property
    def has_floor(self) -> bool:
        """Whether a student that learnt nothing has the worst of scores."""
        return True


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskObjective:
    """What the experiment's own real images say of a student beside its accuracy: one number of one task.

    A search asks its validation images, a comparison the test images on which everything else in its tables is scored.
    """

    type: Literal["task"] = "task"
    task: Literal["representation", "agreement", "calibration", "corruption"]
    score: str | None = None  # None: the task's first

    def __post_init__(self) -> None:
        check_choice("score", self.column, tuple(TASK_SCORES[self.task]))

    @property
    def column(self) -> str:
        """The number that counts."""
        return self.score or next(iter(TASK_SCORES[self.task]))

    @property
    def goal(self) -> Goal:
        """Which way it is better."""
        return TASK_SCORES[self.task][self.column]

    @property
    def needs_labels(self) -> bool:
        """Whether images without labels do not suffice."""
        return self.task not in WITHOUT_LABELS

    @property
    def needs_features(self) -> bool:
        """Whether a teacher that gives logits alone does not suffice."""
        return self.task in OF_FEATURES

    @property
    def is_share(self) -> bool:
        """Whether it is told in percent: shares of images are."""
        return self.column == "top1"

    @property
    def has_floor(self) -> bool:
        """Whether a student that learnt nothing has the worst of scores."""
        return self.column not in WITHOUT_FLOOR


FurtherObjective = CostObjective | TransferObjective | TaskObjective
ComparedObjective = TransferObjective | TaskObjective  # what a comparison has columns of: costs stand there anyway


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontSettings:
    """Which point of the Pareto front is registered.

    ``knee``: the one nearest to the ideal point, every objective scaled to [0, 1] over the front. ``limits``: the best
    by the search's own objective among those that keep every limit: costs and errors at most, scores at least.

    Source: Zeleny, Compromise Programming, in Multiple Criteria Decision Making, 1973, for the knee.
    """

    rule: Literal["knee", "limits"] = "knee"
    limits: dict[str, float] = field(default_factory=dict)  # by the objectives' names

    def __post_init__(self) -> None:
        if (self.rule == "limits") != bool(self.limits):
            raise ValueError("limits: the rule 'limits' needs at least one limit, and 'knee' takes none.")

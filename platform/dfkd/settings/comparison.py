"""Settings of a comparison: which methods, on which teachers and seeds, for what budget, and how they are tuned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dfkd.settings.checks import check_at_least, check_choice, check_distinct, check_positive, check_seeds, check_share
from dfkd.settings.objectives import ComparedObjective, TransferObjective
from dfkd.settings.schedules import SCHEDULES
from dfkd.settings.search import ParameterRange
from dfkd.settings.tuning import TuningSettings, share_classes

Column = Literal["preset", "tuned"]
COLUMNS: tuple[Column, ...] = ("preset", "tuned")
Overlay = dict[str, Any]  # dotted path into an experiment -> value, as `--set` writes it

#: What students are compared by -> its key among scores, and the teacher's. On validation images "val/" stands before.
SCORES = {
    "accuracy": ("accuracy/top1", "accuracy/teacher_top1"),
    "balanced_accuracy": ("binary/balanced_accuracy", "binary/teacher_balanced_accuracy"),
}
#: Students that are not distilled: how tables call them, and what they know beside the teacher.
UNDISTILLED = {
    "untrained": ("random initialisation", "no teacher"),
    "from_labels": ("trained on labels", "labelled training images, no teacher"),
}
ROW_PARTS = ("synthesis", "distillation", "label_embeddings")  # of an experiment, that a method may decide
PAIR_PARTS = ("teacher", "student")
#: Of what runs cost and how methods behave: counted up when either changes, so that no result of before is taken up.
REVISION = 2
WARM_UP_SHARE = 0.2  # of a run's cost at most: short budgets must not only rank start-up


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class RunName:
    """Which run of a comparison: a row's column, on a pair, at a share of the budget, under two seeds."""

    pair: str  # "": the experiment's own teacher and student
    fraction: float
    row: str
    column: Column
    teacher: int  # the teacher's training seed
    seed: int

    def __str__(self) -> str:
        """Return it as a file's name, without the ending."""
        pair = f"{self.pair}." if self.pair else ""
        return f"{pair}{self.row}.{self.column}.x{self.fraction:g}.t{self.teacher}.s{self.seed}"


@dataclass(frozen=True, kw_only=True, slots=True)
class RowSettings:
    """One method under the settings that it is compared with.

    ``preset`` names a schedule, which takes the place of the experiment's ``distillation``. A published method's own
    takes that of its ``synthesis`` too; a general one, such as ``nayer_100``, is laid over it. Then it is shrunk as
    ``ShrinkSettings`` say, and ``settings`` come on top.
    """

    preset: str | None = None
    settings: Overlay = field(default_factory=dict)
    title: str | None = None  # how tables call the row; None: as the method
    columns: tuple[Column, ...] = ("preset",)  # "preset": as it stands here; "tuned": after the search of `tuning`
    parameters: dict[str, ParameterRange] = field(default_factory=dict)  # what is searched for "tuned"
    seeds: tuple[int, ...] | None = None  # in place of the comparison's
    student: Literal["distilled", "untrained", "from_labels"] = "distilled"  # the others are bounds, outside the budget

    def __post_init__(self) -> None:
        if self.preset is not None:
            check_choice("preset", self.preset, tuple(SCHEDULES))
        check_parts("settings", self.settings, ROW_PARTS)
        check_parts("parameters", self.parameters, ROW_PARTS)
        if not self.columns:
            raise ValueError("columns: expected 'preset', 'tuned' or both, got none.")
        check_distinct("columns", self.columns)
        if ("tuned" in self.columns) != bool(self.parameters):
            raise ValueError(
                "columns: 'tuned' and a search over `parameters` come together; give both or neither "
                f"(columns {', '.join(self.columns)}; {len(self.parameters)} parameters)."
            )
        if self.seeds is not None:
            check_seeds("seeds", self.seeds)
        if self.student != "distilled" and (self.preset or self.settings or "tuned" in self.columns):
            raise ValueError(f"student: one that is '{self.student}' takes no preset, settings or tuning of a method.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShrinkSettings:
    """How presets, which were published for GPUs and days, are made smaller before anything else: alike for all.

    The student's learning rate follows the square root of its batch size, as Adam's should (Malladi et al., On the SDEs
    and Scaling Rules for Adaptive Gradient Algorithms, NeurIPS 2022) and as SGD's does between the published 0.2 at 512
    and the usual 0.1 at 128. A generator's stays: the images of a round are the same in all of its steps.
    """

    batch_sizes: float = 1.0  # by which the batches of synthesis and of the student are divided, rounded up
    generator_width: float = 1.0  # by which the generator's channels are divided, rounded up

    def __post_init__(self) -> None:
        check_at_least("batch_sizes", self.batch_sizes, 1)
        check_at_least("generator_width", self.generator_width, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetSettings:
    """What every run may cost: counted multiply-accumulates, or seconds of one worker on this machine."""

    macs: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if (self.macs is None) == (self.seconds is None):
            raise ValueError("macs: expected either 'macs' or 'seconds', got both or neither.")
        check_positive(self.unit, self.amount)

    @property
    def unit(self) -> Literal["macs", "seconds"]:
        """What is counted."""
        return "macs" if self.macs is not None else "seconds"

    @property
    def amount(self) -> float:
        """How much of it."""
        amount = self.macs if self.macs is not None else self.seconds
        assert amount is not None
        return amount


@dataclass(frozen=True, kw_only=True, slots=True)
class RivalSettings:
    """A claim about the reference: no worse than another row by more than a margin, and cheaper."""

    row: str  # the other row
    margin: float  # by which the reference's score may lie below; a share
    summarised_ratio: float | None = None  # the row's cost over the reference's, as summaries of a publication have it

    def __post_init__(self) -> None:
        check_at_least("margin", self.margin, 0)
        if self.summarised_ratio is not None:
            check_positive("summarised_ratio", self.summarised_ratio)


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonSettings:
    """One comparison, as a file of ``benchmarks/comparisons/`` describes it."""

    name: str  # of its results folder and of the tracked experiment
    title: str | None = None  # how tables call it; None: the name
    experiment: dict[str, Any]  # what all rows share: plain values of ExperimentSettings, may hold `schedule`
    pairs: dict[str, Overlay] = field(default_factory=dict)  # other teachers and students; none: the experiment's own
    methods: dict[str, RowSettings]
    teachers: tuple[int, ...] = (0,)  # training seeds
    teacher_per_seed: bool = False  # every seed has a teacher of its own, trained under it, in place of `teachers`
    seeds: tuple[int, ...]
    budget: BudgetSettings
    shrink: ShrinkSettings = field(default_factory=ShrinkSettings)  # of every row's preset
    fractions: tuple[float, ...] = (1.0,)  # of the budget; each is a run of its own, with its own schedule
    score: Literal["accuracy", "balanced_accuracy"] = "accuracy"
    #: By column: what the features are worth elsewhere, and what the test images say of a student beside its accuracy.
    transfer: dict[str, ComparedObjective] = field(default_factory=dict)
    reference: str  # the row that all others are compared with, pair by pair
    rival: RivalSettings | None = None  # what the reference is claimed to reach, said in words under the table
    floor: str | None = None  # the row that every method must beat
    ceiling: str | None = None  # the row that learns from the real training images
    tuning: TuningSettings | None = None
    tuned_values: str | None = None  # a file that another comparison's tuning wrote, beside this one; None: own tuning

    def __post_init__(self) -> None:
        check_name("name", self.name)
        if not self.methods:
            raise ValueError("methods: expected at least one row, got none.")
        for name in self.methods:
            check_name("methods", name)
        for name, overlay in self.pairs.items():
            check_name("pairs", name)
            check_parts(f"pairs.{name}", overlay, PAIR_PARTS)
        for name in self.transfer:
            check_name("transfer", name)
        check_choice("score", self.score, tuple(SCORES))
        check_seeds("teachers", self.teachers)
        check_seeds("seeds", self.seeds)
        self._check_fractions()
        if self.rival is not None and self.rival.row == self.reference:
            raise ValueError(f"rival.row: '{self.reference}' is the reference itself; take another row.")
        if self.teacher_per_seed and self.teachers != (0,):
            raise ValueError("teachers: with teacher_per_seed the seeds are the teachers' too; leave it out.")
        roles = {role: getattr(self, role) for role in ("reference", "floor", "ceiling")}
        for role, row in (roles | {"rival.row": self.rival and self.rival.row}).items():
            if row is not None:
                check_choice(role, row, tuple(self.methods))
                if (student := self.methods[row].student) != "distilled":
                    raise ValueError(f"{role}: the row '{row}' is '{student}' and has no budget; take a method's row.")
        self._check_tuning()

    def teachers_of(self, seed: int) -> tuple[int, ...]:
        """Return the training seeds of the teachers that a seed's runs have."""
        return (seed,) if self.teacher_per_seed else self.teachers

    def _check_fractions(self) -> None:
        if not self.fractions:
            raise ValueError("fractions: expected at least one share of the budget, got none.")
        check_distinct("fractions", self.fractions)
        for fraction in self.fractions:
            check_share("fractions", fraction)

    def _check_tuning(self) -> None:
        tuned = [name for name, row in self.methods.items() if "tuned" in row.columns]
        if tuned and self.tuning is None and self.tuned_values is None:
            raise ValueError(f"tuning: is missing, and the row '{tuned[0]}' has a column 'tuned'.")
        if self.tuning is None:
            return
        if self.tuned_values is not None:
            raise ValueError("tuned_values: these are tuned already; take out either 'tuning' or 'tuned_values'.")
        if not tuned:
            raise ValueError("tuning: no row has a column 'tuned' with `parameters` to search.")
        in_table = {seed for row in self.methods.values() for seed in row.seeds or self.seeds}
        if both := sorted(in_table & set(self.tuning.seeds)):
            raise ValueError(f"tuning.seeds: {both[0]} is in the table too; tuning needs seeds of its own.")
        if self.tuning.teacher in {teacher for seed in in_table for teacher in self.teachers_of(seed)}:
            raise ValueError(
                f"tuning.teacher: the one of seed {self.tuning.teacher} is in the table too; tuning needs its own."
            )
        for name, column in self.transfer.items():
            if self.tuning.transfer is None or not isinstance(column, TransferObjective):
                continue
            if share_classes(self.tuning.transfer, column):
                raise ValueError(
                    f"tuning.transfer: classes of it are in the column '{name}' too; tune on other classes or data."
                )


def check_name(name: str, value: str) -> None:
    """Raise ValueError unless ``value`` can be part of a file's name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", value):
        raise ValueError(f"{name}: expected only letters, digits, '-' and '_', got {value!r}.")


def check_parts(name: str, overlay: Iterable[str], parts: Sequence[str]) -> None:
    """Raise ValueError unless every dotted path leads into one of ``parts`` of an experiment."""
    for path in overlay:
        try:
            check_choice(path, path.split(".")[0], parts)
        except ValueError as error:
            raise ValueError(f"{name}.{error} The rest is the same for all.") from None

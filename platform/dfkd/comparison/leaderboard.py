"""Results -> a leaderboard: a line a row, column, pair and budget, with intervals and differences to the reference."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from dfkd.comparison.efficiency import SHARES, Reached, reached
from dfkd.comparison.results import COMPLETE, RunResult
from dfkd.comparison.statistics import Interval, PairedDifference, holm, mean_interval, paired_difference
from dfkd.settings.comparison import SCORES, Column, ComparisonSettings

BACKDOOR = ("success", "without_patch", "teacher_success", "teacher_without_patch")  # numbers of the task `backdoor`
BLIND_WIDTHS = 3  # of an interval, below which a task does not tell nothing learnt from everything learnt
BLIND_PAIRS = 3  # two have an interval so wide that every task would be blind
CHANCE_MARGIN = 0.05  # a student within it of guessing has collapsed
Cell = tuple[int, int]  # the teacher's training seed, and the seed


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferScore:
    """What the students' features are worth on another task, or one more number of the test images.

    Attributes:
        score: over runs.
        teacher: mean of the teachers' own; NaN where the task asks the student alone.
        difference: to the reference's, pair by pair; None for the reference, or without a pair.
        p_value: of the difference, by Holm's correction over all lines of the pair and budget.
        blind: the task hardly tells random initialisation from KD with data, and so says nothing about methods:
            there are no differences.
    """

    score: Interval
    teacher: float = math.nan
    difference: PairedDifference | None = None
    p_value: float | None = None
    blind: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of a leaderboard. Intervals are over runs that ended well, of the teachers that were compared.

    Attributes:
        pair: its name; empty for the experiment's own.
        fraction: of the budget.
        row: its name.
        column: ``preset`` or ``tuned``.
        title: of the row, or of its method.
        prior: what the method knows beside the teacher.
        score: of the last epoch, on the test split.
        teacher_score: mean of the teachers'.
        ratio: of the student's score to its teacher's.
        agreement: with the teacher on real test images.
        best_epoch: the best score of any epoch on the test split: picked on it, and so too good.
        difference: of the score to the reference's, pair by pair; None for the reference, or without a pair.
        p_value: of the difference, by Holm's correction over all lines of the pair and budget.
        seconds: means of ``synthesis``, ``distillation``, ``total``, ``wall``.
        macs: means of ``warm_up``, ``synthesis``, ``distillation``, ``total``.
        peak_memory: largest, in bytes, of process and accelerator.
        transfer: scores on other tasks, by column.
        reached: by share of the ceiling; empty without a ceiling.
        backdoor: of the task of that name, where it was asked for: how often student and teacher give images of other
            classes to the backdoor's, with the patch (``success``) and without.
        collapsed: runs whose student guesses, as "teacher 0, seed 3".
        failed: runs that gave no student, and why.
        notes: of scaling to the budget.
    """

    pair: str
    fraction: float
    row: str
    column: Column
    title: str
    prior: str
    score: Interval
    teacher_score: float
    ratio: Interval
    agreement: Interval
    best_epoch: Interval
    difference: PairedDifference | None = None
    p_value: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    macs: dict[str, float] = field(default_factory=dict)
    peak_memory: dict[str, float] = field(default_factory=dict)
    transfer: dict[str, TransferScore] = field(default_factory=dict)
    reached: dict[float, Reached] = field(default_factory=dict)
    backdoor: dict[str, Interval] = field(default_factory=dict)
    collapsed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def warm_up_share(self) -> float:
        """Of the counted cost that comes before the student learns."""
        return self.macs["warm_up"] / self.macs["total"] if self.macs.get("total") else 0.0


def make_leaderboard(settings: ComparisonSettings, results: Iterable[RunResult]) -> list[Line]:
    """Return the lines of a comparison, by pair, by budget with the largest first, and in the order of its rows."""
    order = {name: place for place, name in enumerate(settings.methods)}
    grouped: dict[tuple[str, float], list[RunResult]] = {}
    for result in sorted(results, key=lambda result: (result.run.pair, -result.run.fraction)):
        if result.run.row in order:
            distilled = settings.methods[result.run.row].student == "distilled"
            fraction = result.run.fraction if distilled else max(settings.fractions)  # beside the largest budget
            grouped.setdefault((result.run.pair, fraction), []).append(result)
    lines: list[Line] = []
    blind: dict[str, set[str]] = {}  # by pair: of the largest budget, which comes first and has all rows
    for (pair, fraction), group in grouped.items():
        group.sort(key=lambda result: (order[result.run.row], result.run.column, *_cell(result)))
        blind.setdefault(pair, {column for column in settings.transfer if is_blind(settings, group, column)})
        lines += [replace(line, fraction=fraction) for line in _lines_of(settings, group, blind[pair])]
    return lines


def _lines_of(settings: ComparisonSettings, group: Sequence[RunResult], blind: Collection[str]) -> list[Line]:
    """Return the lines of one pair and budget; ``blind`` are transfer columns that tell nothing of methods."""
    targets = ceiling_scores(settings, group)
    by_line = {key: list(found) for key, found in itertools.groupby(group, lambda result: _line_key(result))}
    lines = []
    for (row, column), found in by_line.items():
        line = _line(settings, found)
        against = by_line.get((settings.reference, column)) or by_line.get((settings.reference, "preset"), [])
        if row != settings.reference:
            line = replace(line, difference=_difference("test", SCORES[settings.score][0], found, against))
        for task, each in line.transfer.items():
            if task in blind:
                line.transfer[task] = replace(each, blind=True)
            elif row != settings.reference:
                line.transfer[task] = replace(each, difference=_difference("transfer", task, found, against))
        if targets and line.macs:
            well = [result for result in found if result.status == COMPLETE]
            reference = [result for result in against if result.status == COMPLETE]
            line = replace(line, reached={share: reached(well, reference, targets, share) for share in SHARES})
        lines.append(line)
    _correct_transfer(settings, lines)
    compared = [place for place, line in enumerate(lines) if line.difference is not None]
    p_values = [line.difference.p_value for line in lines if line.difference is not None]
    for place, p_value in zip(compared, holm(p_values), strict=True):
        lines[place] = replace(lines[place], p_value=p_value)
    return lines


def is_blind(settings: ComparisonSettings, group: Sequence[RunResult], column: str) -> bool:
    """Whether a transfer task tells random initialisation and KD with data apart by less than three intervals.

    An interval is the half-width of their paired difference's. False where either row is missing, or there are fewer
    than three pairs: then nobody knows. False too where having learnt nothing is no disadvantage.
    """
    if not settings.transfer[column].has_floor:
        return False
    presets = [result for result in group if result.run.column == "preset"]
    ceiling = [result for result in presets if result.run.row == settings.ceiling]
    untrained = [result for result in presets if settings.methods[result.run.row].student == "untrained"]
    found = _difference("transfer", column, ceiling, untrained)
    if found is None or found.interval.n < BLIND_PAIRS:
        return False
    return abs(found.interval.mean) <= BLIND_WIDTHS * found.interval.half_width


def ceiling_scores(settings: ComparisonSettings, group: Sequence[RunResult]) -> dict[int, float]:
    """Return the validation score that the ceiling's runs end with, by the teacher's seed; nothing without a ceiling.

    A teacher without such a run gets the mean of the others.
    """
    ends: dict[int, list[float]] = {}
    for result in group:
        if result.run.row == settings.ceiling and result.run.column == "preset" and result.curve.get("validation"):
            ends.setdefault(result.run.teacher, []).append(result.curve["validation"][-1])
    if not ends:
        return {}
    everywhere = statistics.fmean(statistics.fmean(found) for found in ends.values())
    teachers = {result.run.teacher for result in group}
    return {teacher: statistics.fmean(ends.get(teacher, [everywhere])) for teacher in teachers}


def _line(settings: ComparisonSettings, found: Sequence[RunResult]) -> Line:
    """Return a line without what needs other lines."""
    score, teachers_score = SCORES[settings.score]
    well = [result for result in found if result.status == COMPLETE]
    first = (well or found)[0]
    chance = 1 / first.num_classes + CHANCE_MARGIN if first.num_classes else 0.0
    teachers = [result.test[teachers_score] for result in well]
    return Line(
        pair=first.run.pair,
        fraction=first.run.fraction,
        row=first.run.row,
        column=first.run.column,
        title=settings.methods[first.run.row].title or first.title,
        prior=first.prior,
        score=mean_interval([result.test[score] for result in well]),
        teacher_score=mean_interval(teachers).mean,
        ratio=mean_interval([result.test[score] / result.test[teachers_score] for result in well]),
        agreement=mean_interval([result.test["agreement/top1"] for result in well]),
        best_epoch=mean_interval([result.best_epoch["score"] for result in well]),
        transfer={
            column: TransferScore(
                score=mean_interval([r.transfer[column] for r in well if column in r.transfer]),
                teacher=mean_interval([r.teacher_transfer[column] for r in well if column in r.teacher_transfer]).mean,
            )
            for column in settings.transfer
        },
        backdoor=_backdoor(well),
        seconds=_means([result.seconds for result in well]),
        macs=_means([result.macs for result in well]),
        peak_memory=_largest([result.peak_memory for result in well]),
        collapsed=tuple(_named(result) for result in well if result.macs and result.test[score] <= chance),
        failed=tuple(f"{_named(result)}: {result.reason}" for result in found if result.status != COMPLETE),
        notes=tuple(dict.fromkeys(note for result in well for note in result.notes)),
    )


def _backdoor(well: Sequence[RunResult]) -> dict[str, Interval]:
    if not well or not all("backdoor/success" in result.test for result in well):
        return {}
    return {name: mean_interval([result.test[f"backdoor/{name}"] for result in well]) for name in BACKDOOR}


def _correct_transfer(settings: ComparisonSettings, lines: Sequence[Line]) -> None:
    """Correct the p values of every transfer column, in place."""
    for column in settings.transfer:
        compared = [line for line in lines if line.transfer[column].difference is not None]
        p_values = [difference.p_value for line in compared if (difference := line.transfer[column].difference)]
        for line, p_value in zip(compared, holm(p_values), strict=True):
            line.transfer[column] = replace(line.transfer[column], p_value=p_value)


def _difference(
    part: Literal["test", "transfer"], score: str, found: Sequence[RunResult], reference: Sequence[RunResult]
) -> PairedDifference | None:
    """Return how a score of the row differs from the reference's over the teachers and seeds that both have."""
    own, theirs = (
        {_cell(result): getattr(result, part)[score] for result in side if score in getattr(result, part)}
        for side in (found, reference)
    )
    cells = sorted(own.keys() & theirs.keys())
    return paired_difference([own[cell] for cell in cells], [theirs[cell] for cell in cells]) if cells else None


def _line_key(result: RunResult) -> tuple[str, Column]:
    return result.run.row, result.run.column


def _cell(result: RunResult) -> Cell:
    return result.run.teacher, result.run.seed


def _named(result: RunResult) -> str:
    return f"teacher {result.run.teacher}, seed {result.run.seed}"


def _means(values: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.fmean(each[name] for each in values) for name in (values[0] if values else ())}


def _largest(values: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: max(each[name] for each in values if name in each) for name in (values[0] if values else ())}

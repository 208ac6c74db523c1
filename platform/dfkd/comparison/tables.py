"""A leaderboard as people read it, in Markdown."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from dfkd.comparison.cells import NOTHING, number, percent, plain, points, table
from dfkd.comparison.efficiency import SHARES
from dfkd.comparison.leaderboard import BACKDOOR, Line, TransferScore
from dfkd.comparison.sentences import below_floor, claim, how_to_read, remarks, stability, title_of
from dfkd.comparison.statistics import PairedDifference
from dfkd.settings.comparison import BudgetSettings, ComparisonSettings
from dfkd.settings.objectives import ComparedObjective, TransferObjective

BLIND = (
    "Blind: random initialisation and KD with data differ by less than three intervals here, so this task says nothing "
    "about methods, and no differences are shown."
)


def full_markdown(settings: ComparisonSettings, lines: Sequence[Line]) -> str:
    """Return every table of a comparison, by pair and budget: scores, costs, efficiency, and what went wrong."""
    parts = [f"# {settings.title or settings.name}", how_to_read(settings)]
    for (pair, fraction), group in _groups(lines):
        parts.append(f"## {heading(settings, pair, fraction)}")
        parts += [score_table(settings, group), *backdoor_table(group), *transfer_tables(settings, group)]
        parts.append(cost_table(group))
        if settings.ceiling is not None:
            parts.append(efficiency_table(settings, group))
        parts += [*remarks(group), *below_floor(settings, group)]
    parts += [*claim(settings, lines), *stability(lines)]
    return "\n\n".join(parts) + "\n"


def readme_markdown(settings: ComparisonSettings, lines: Sequence[Line]) -> str:
    """Return what a README shows: the scores at the largest budget, and what went wrong there."""
    largest = max((line.fraction for line in lines), default=1.0)
    parts = []
    for (pair, fraction), group in _groups(lines):
        if fraction == largest:
            parts.append(f"**{settings.title or settings.name}**, {heading(settings, pair, fraction)}")
            parts += [score_table(settings, group), *backdoor_table(group), *transfer_tables(settings, group)]
            parts += [*remarks(group), *below_floor(settings, group)]
    return "\n\n".join([*parts, *claim(settings, lines), *stability(lines)])


def heading(settings: ComparisonSettings, pair: str, fraction: float) -> str:
    """Return which part of a comparison a table shows."""
    named = f"{pair}, " if pair else ""
    return f"{named}{budget_in_words(settings.budget, fraction)} a run"


def budget_in_words(budget: BudgetSettings, fraction: float) -> str:
    """Return a share of a budget: ``5e+11 multiply-accumulates``, ``180 seconds``."""
    unit = "multiply-accumulates" if budget.unit == "macs" else "seconds"
    return f"{budget.amount * fraction:.3g} {unit}"


def score_table(settings: ComparisonSettings, lines: Sequence[Line]) -> str:
    """Return the students' scores, and how they differ from the reference's."""
    score, reference = settings.score.replace("_", " "), title_of(settings, lines)
    head = ["method", "settings", "prior", "n", f"{score}, last epoch", "of the teacher's"]
    head += [
        "agreement with the teacher",
        "best epoch, picked on test",
        f"difference to {reference}",
        "p (Holm)",
        "detectable, uncorrected",
    ]
    rows = []
    for line in lines:
        difference = line.difference
        rows.append(
            [
                line.title,
                line.column,
                line.prior,
                str(line.score.n),
                percent(line.score),
                number(100 * line.ratio.mean, ".1f", " %"),
                number(100 * line.agreement.mean, ".1f", " %"),
                number(100 * line.best_epoch.mean, ".1f", " %"),
                NOTHING if difference is None else _with_pairs(line, difference),
                NOTHING if line.p_value is None else number(line.p_value, ".3f"),
                NOTHING if difference is None else number(100 * difference.detectable, ".1f"),
            ]
        )
    return table(head, rows)


def backdoor_table(lines: Sequence[Line]) -> list[str]:
    """Return how often the backdoor of a poisoned teacher opens, in the student and in the teacher; with its title."""
    if not any(line.backdoor for line in lines):
        return []
    head = ["method", "settings", "n", "student, patch", "student, no patch", "teacher, patch", "teacher, no patch"]
    rows = [
        [line.title, line.column, str(line.score.n), *(percent(line.backdoor[name]) for name in BACKDOOR)]
        for line in lines
        if line.backdoor
    ]
    return ["Backdoor: share of test images of other classes that are given to the backdoor's.", table(head, rows)]


def transfer_tables(settings: ComparisonSettings, lines: Sequence[Line]) -> list[str]:
    """Return a table a transfer column, under its name and what is measured."""
    found = []
    for name, column in settings.transfer.items():
        head = [
            "method",
            "settings",
            "n",
            name,
            f"difference to {title_of(settings, lines)}",
            "p (Holm)",
            "detectable, uncorrected",
        ]
        rows = []
        blind = any(line.transfer[name].blind for line in lines)
        share = column.is_share
        for line in lines:
            each, difference = line.transfer[name], line.transfer[name].difference
            cells = [line.title, line.column, str(each.score.n), percent(each.score) if share else plain(each.score)]
            if difference is None:
                rows.append([*cells, NOTHING, NOTHING, NOTHING])
                continue
            scale, form = (100, ".1f") if share else (1, ".3g")
            cells.append(points(difference.interval) if share else plain(difference.interval, ends=True))
            cells.append(NOTHING if each.p_value is None else number(each.p_value, ".3f"))
            rows.append([*cells, number(scale * difference.detectable, form)])
        direction = "; less is better" if column.goal == "minimize" else ""
        what = [f"{_measured(name, column)}{direction}.", *_teachers(column, [line.transfer[name] for line in lines])]
        found += [" ".join([*what, BLIND] if blind else what), table(head, rows)]
    return found


def _measured(name: str, column: ComparedObjective) -> str:
    """Return what a transfer column measures, and on which images."""
    if not isinstance(column, TransferObjective):
        return f"`{name}`: {column.task}, {column.column}, on the test split"
    task, dataset = f"{column.by.task.replace('_', ' ')}, {column.column}", column.by.dataset
    return f"Transfer, `{name}`: {task}, on {dataset.title or dataset.name}{_classes(column)}, {column.split} split"


def _teachers(column: ComparedObjective, scores: Sequence[TransferScore]) -> list[str]:
    """Return the teachers' own mean, where the task asks them."""
    shown = {
        number(100 * each.teacher, ".2f", " %") if column.is_share else number(each.teacher, ".4g") for each in scores
    }
    shown.discard(NOTHING)
    return [f"Teacher: {', '.join(sorted(shown))} (mean)."] if shown else []


def cost_table(lines: Sequence[Line]) -> str:
    """Return what the runs cost, as means over runs."""
    head = ["method", "settings", "multiply-accumulates", "of these before the student learns"]
    head += ["seconds of synthesis", "seconds of distillation", "seconds with evaluation"]
    head += ["peak memory (MB)", "scaling"]
    rows = [
        [
            line.title,
            line.column,
            number(line.macs.get("total", math.nan), ".3g"),
            number(100 * line.warm_up_share, ".0f", " %") if line.macs else NOTHING,
            *(number(line.seconds.get(part, math.nan), ".0f") for part in ("synthesis", "distillation", "wall")),
            number(max(line.peak_memory.values(), default=math.nan) / 1e6, ".0f"),
            "; ".join(line.notes) or NOTHING,
        ]
        for line in lines
    ]
    return table(head, rows)


def efficiency_table(settings: ComparisonSettings, lines: Sequence[Line]) -> str:
    """Return the cost until the student had 90 % and 95 % of the ceiling's validation score, medians over runs."""
    head = ["method", "settings"]
    for share in SHARES:
        head += [f"reached {share:.0%}", f"synthesis MACs to {share:.0%}", f"seconds to {share:.0%}"]
        head += [f"{title_of(settings, lines)}'s synthesis MACs as a multiple, to {share:.0%}"]
    rows = []
    for line in lines:
        cells = [line.title, line.column]
        for share in SHARES:
            found = line.reached.get(share)
            if found is None or not found.runs:
                cells += [NOTHING] * 4
                continue
            ratio = found.ratio if line.row != settings.reference else None
            cells += [f"{found.reached} of {found.runs}"]
            cells += [number(found.median["synthesis_macs"], ".3g"), number(found.median["seconds"], ".0f")]
            cells += [
                NOTHING
                if ratio is None
                else "{:.2f} [{:.2f}, {:.2f}]".format(*ratio) + f", n = {found.pairs} of {found.of_pairs}"
            ]
        rows.append(cells)
    return table(head, rows)


def _with_pairs(line: Line, difference: PairedDifference) -> str:
    """Return a difference in points, and of how many pairs it is where the line has more runs."""
    pairs = difference.interval.n
    return points(difference.interval) + (f" ({pairs} pairs)" if pairs != line.score.n else "")


def _classes(column: TransferObjective) -> str:
    """Return which classes of the data a task is on, counted from 1; nothing where it is on all."""
    kept = getattr(column.by, "classes", None)
    return f", classes {kept[0] + 1} to {kept[1] + 1}" if kept is not None else ""


def _groups(lines: Sequence[Line]) -> list[tuple[tuple[str, float], list[Line]]]:
    grouped = itertools.groupby(lines, lambda line: (line.pair, line.fraction))
    return [(key, list(group)) for key, group in grouped]

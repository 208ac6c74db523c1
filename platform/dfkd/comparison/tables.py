"""A leaderboard as people read it, in Markdown, and as programs do, in Parquet."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dfkd.comparison.efficiency import SHARES
from dfkd.comparison.leaderboard import BACKDOOR, Line
from dfkd.comparison.statistics import Interval
from dfkd.settings.comparison import BudgetSettings, ComparisonSettings

FIRST = 3  # places whose order a smaller budget should not change
NOTHING = "-"


def full_markdown(settings: ComparisonSettings, lines: Sequence[Line]) -> str:
    """Return every table of a comparison, by pair and budget: scores, costs, efficiency, and what went wrong."""
    parts = [f"# {settings.title or settings.name}", _how_to_read(settings)]
    for (pair, fraction), group in _groups(lines):
        parts.append(f"## {heading(settings, pair, fraction)}")
        parts += [score_table(settings, group), *backdoor_table(group), *transfer_tables(settings, group)]
        parts.append(cost_table(group))
        if settings.ceiling is not None:
            parts.append(efficiency_table(settings, group))
        parts += [*_remarks(group), *below_floor(settings, group)]
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
            parts += [*_remarks(group), *below_floor(settings, group)]
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
    score, reference = settings.score.replace("_", " "), _title_of(settings, lines)
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
                NOTHING if difference is None else points(difference.interval),
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
            f"difference to {_title_of(settings, lines)}",
            "p (Holm)",
            "detectable, uncorrected",
        ]
        rows = []
        error = column.goal == "minimize"  # in units of its own, such as metres; every other score is a share
        for line in lines:
            each, difference = line.transfer[name], line.transfer[name].difference
            cells = [line.title, line.column, str(each.score.n), plain(each.score) if error else percent(each.score)]
            if difference is None:
                rows.append([*cells, NOTHING, NOTHING, NOTHING])
                continue
            scale, form = (1, ".3g") if error else (100, ".1f")
            cells.append(plain(difference.interval, ends=True) if error else points(difference.interval))
            cells.append(NOTHING if each.p_value is None else number(each.p_value, ".3f"))
            rows.append([*cells, number(scale * difference.detectable, form)])
        data, direction = column.by.dataset.title or column.by.dataset.name, "; less is better" if error else ""
        task = f"{column.by.task.replace('_', ' ')}, {column.column}"
        what = f"Transfer, `{name}`: {task}, on {data}, {column.split} split{direction}."
        found += [what, table(head, rows)]
    return found


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
        head += [f"{_title_of(settings, lines)}'s synthesis MACs as a multiple, to {share:.0%}"]
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
            cells += [NOTHING if ratio is None else "{:.2f} [{:.2f}, {:.2f}]".format(*ratio) + f", n = {found.pairs}"]
        rows.append(cells)
    return table(head, rows)


def claim(settings: ComparisonSettings, lines: Sequence[Line]) -> list[str]:
    """Return whether the reference reaches what is claimed of it against its rival, at the largest budget."""
    rival, found = settings.rival, []
    if rival is None:
        return []
    largest = max((line.fraction for line in lines), default=1.0)
    for line in lines:
        if line.row != rival.row or line.fraction != largest:
            continue
        if line.difference is None:
            found.append(f"{_title_of(settings, lines)} less {line.title}: no run of both has ended well.")
            continue
        theirs = line.difference.interval
        ours = replace(theirs, mean=-theirs.mean)
        named = f"{line.pair}, {line.column}" if line.pair else line.column
        margin = f"{-100 * rival.margin:.1f} points"
        if math.isnan(ours.half_width):
            verdict = f"one pair says nothing about the margin of {margin}"
        else:
            verdict = f"its lower end lies {'above' if ours.low > -rival.margin else 'not above'} {margin}"
        words = [f"{_title_of(settings, lines)} less {line.title} ({named}): {points(ours)} points, {verdict}"]
        for share, each in line.reached.items():
            if each.ratio is not None:
                middle, low, high = (1 / value for value in each.ratio)
                words.append(
                    f"{line.title}'s synthesis to {share:.0%} of the ceiling costs {middle:.2f} times as much "
                    f"[{high:.2f}, {low:.2f}], n = {each.pairs}"
                )
        if rival.published_ratio is not None:
            words.append(f"published is {rival.published_ratio:g}, of another cost")
        found.append("; ".join(words) + ".")
    return found


def stability(lines: Sequence[Line]) -> list[str]:
    """Return how far the budget decides the order: the first places by budget, and the longest warm-up.

    Ranked are methods that synthesise, each column by itself: bounds and baselines are no competitors.
    """
    found = []
    for pair, group in itertools.groupby(lines, lambda line: line.pair):
        members = list(group)
        ranked = [line for line in members if line.macs.get("synthesis", 0.0) + line.macs.get("warm_up", 0.0) > 0]
        longest = max((line.warm_up_share for line in members), default=0.0)
        named = f"{pair}: first" if pair else "First"
        for column in dict.fromkeys(line.column for line in ranked):
            orders = "; ".join(
                f"at {fraction:g} of the budget {', '.join(_first(ranked, column, fraction))}"
                for fraction in sorted({line.fraction for line in ranked})
            )
            found.append(f"{named} places, {column}: {orders}.")
        found.append(
            f"{f'{pair}: at' if pair else 'At'} most {longest:.0%} of any run's cost come before the student learns."
        )
    return found


def _first(lines: Sequence[Line], column: str, fraction: float) -> list[str]:
    """Return the titles of the best, in their order."""
    own = [line for line in lines if (line.column, line.fraction) == (column, fraction)]
    return [line.title for line in sorted(own, key=lambda line: -line.score.mean)[:FIRST]]


def parquet(lines: Sequence[Line]) -> bytes:
    """Return the leaderboard as one Parquet table, a row a line."""
    rows = [_flat(line) for line in lines]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = pa.table({name: [row.get(name) for row in rows] for name in names})
    buffer = io.BytesIO()
    pq.write_table(columns, buffer)
    return buffer.getvalue()


def _flat(line: Line) -> dict[str, Any]:
    names = ("pair", "fraction", "row", "column", "title", "prior")
    row: dict[str, Any] = {name: getattr(line, name) for name in names}
    row |= {"teacher_score": line.teacher_score, "warm_up_share": line.warm_up_share}
    for name in ("score", "ratio", "agreement", "best_epoch"):
        interval: Interval = getattr(line, name)
        row |= {"n": interval.n, name: interval.mean, f"{name}_half_width": interval.half_width}
    if line.difference is not None:
        row |= {"difference": line.difference.interval.mean, "pairs": line.difference.interval.n}
        row |= {"difference_low": line.difference.interval.low, "difference_high": line.difference.interval.high}
        row |= {"p_value": line.difference.p_value, "p_value_holm": line.p_value}
        row |= {"detectable": line.difference.detectable}
    for name, opens in line.backdoor.items():
        row |= {f"backdoor/{name}": opens.mean, f"backdoor/{name}_half_width": opens.half_width}
    for name, each in line.transfer.items():
        row |= {f"transfer/{name}": each.score.mean, f"transfer/{name}_half_width": each.score.half_width}
        row |= {f"transfer/{name}_n": each.score.n, f"transfer/{name}_p_value_holm": each.p_value}
        if each.difference is not None:
            row |= {f"transfer/{name}_difference": each.difference.interval.mean}
            row |= {f"transfer/{name}_difference_low": each.difference.interval.low}
            row |= {f"transfer/{name}_difference_high": each.difference.interval.high}
    for group in ("seconds", "macs", "peak_memory"):
        row |= {f"{group}/{name}": value for name, value in getattr(line, group).items()}
    for share, found in line.reached.items():
        row |= {f"reached_{share:g}/{name}": value for name, value in found.median.items()}
        row |= {f"reached_{share:g}/runs": found.reached}
        if found.ratio is not None:
            ends = zip(("ratio", "ratio_low", "ratio_high"), found.ratio, strict=True)
            row |= {f"reached_{share:g}/{name}": value for name, value in ends}
    return row | {name: "; ".join(getattr(line, name)) for name in ("collapsed", "failed", "notes")}


def _groups(lines: Sequence[Line]) -> list[tuple[tuple[str, float], list[Line]]]:
    grouped = itertools.groupby(lines, lambda line: (line.pair, line.fraction))
    return [(key, list(group)) for key, group in grouped]


def _title_of(settings: ComparisonSettings, lines: Sequence[Line]) -> str:
    return next((line.title for line in lines if line.row == settings.reference), settings.reference)


def _how_to_read(settings: ComparisonSettings) -> str:
    roles = {"reference": settings.reference, "floor": settings.floor, "ceiling": settings.ceiling}
    named = ", ".join(f"{role}: `{row}`" for role, row in roles.items() if row is not None)
    return (
        f"{_teachers(settings)}; {named}. Every budget is a run of its own with its own schedule. Scores are of the "
        "last epoch on the full test split, with 95 % t-intervals over runs. *Detectable* is the smallest true "
        "difference, in points, that a single test at 5 % would find in 80 % of all experiments of this size; Holm's "
        "correction for all lines asks for more. How all of this is computed: docs/comparison.md."
    )


def _teachers(settings: ComparisonSettings) -> str:
    """Return which teachers and seeds there are: intervals speak of other teachers only where each seed has its own."""
    if settings.teacher_per_seed:
        return f"Seeds {_listed(settings.seeds)}, each with a teacher trained under it"
    given = "given this teacher" if len(settings.teachers) == 1 else "given these teachers"
    return f"Teachers of seeds {_listed(settings.teachers)} (intervals are {given}), seeds {_listed(settings.seeds)}"


def _remarks(lines: Sequence[Line]) -> list[str]:
    teachers = {f"{100 * line.teacher_score:.2f} %" for line in lines if not math.isnan(line.teacher_score)}
    return [f"Teacher: {', '.join(sorted(teachers))} (mean).", *_troubles(lines)]


def below_floor(settings: ComparisonSettings, lines: Sequence[Line]) -> list[str]:
    """Return which rows' means lie not above the floor's; nothing without a floor."""
    floor = next((line.score.mean for line in lines if line.row == settings.floor), math.nan)
    found = [
        f"{line.title}, {line.column}"
        for line in lines
        if line.row != settings.floor and line.macs and line.score.mean <= floor
    ]
    return [f"Not above the floor: {'; '.join(found)}."] if found else []


def _troubles(lines: Sequence[Line]) -> list[str]:
    """Return the runs that collapsed or failed, by name."""
    found = []
    for what in ("collapsed", "failed"):
        runs = {f"{line.title}, {line.column}": getattr(line, what) for line in lines}
        named = [f"{title} ({'; '.join(each)})" for title, each in runs.items() if each]
        if named:
            found.append(f"{what.capitalize()}: {'; '.join(named)}.")
    return found


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def plain(interval: Interval, *, ends: bool = False) -> str:
    """Return an interval in its own unit, with its half-width or with both ends."""
    if math.isnan(interval.mean):
        return NOTHING
    if math.isnan(interval.half_width):
        return f"{interval.mean:.4g}"
    beside = f"[{interval.low:.4g}, {interval.high:.4g}]" if ends else f"+- {interval.half_width:.4g}"
    return f"{interval.mean:.4g} {beside}"


def percent(interval: Interval) -> str:
    """Return an interval of shares: ``97.00 +- 0.45 %``."""
    half = "" if math.isnan(interval.half_width) else f" +- {100 * interval.half_width:.2f}"
    return NOTHING if math.isnan(interval.mean) else f"{100 * interval.mean:.2f}{half} %"


def points(interval: Interval) -> str:
    """Return an interval of differences between shares, in points, with both ends: ``-0.52 [-1.10, +0.06]``."""
    if math.isnan(interval.mean):
        return NOTHING
    ends = "" if math.isnan(interval.half_width) else f" [{100 * interval.low:+.2f}, {100 * interval.high:+.2f}]"
    return f"{100 * interval.mean:+.2f}{ends}"


def number(value: float, form: str, unit: str = "") -> str:
    """Return a number, or a dash where there is none; infinite is "never"."""
    if math.isnan(value):
        return NOTHING
    return "never" if math.isinf(value) else f"{value:{form}}{unit}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)

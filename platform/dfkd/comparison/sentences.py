"""What is said about a leaderboard beside its tables: how to read it, what went wrong, and what it shows of a claim."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

from dfkd.comparison.cells import points
from dfkd.comparison.leaderboard import Line
from dfkd.settings.comparison import ComparisonSettings

FIRST = 3  # places whose order a smaller budget should not change


def how_to_read(settings: ComparisonSettings) -> str:
    """Return what the numbers of a comparison are, in one paragraph."""
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


def remarks(lines: Sequence[Line]) -> list[str]:
    """Return the teachers' mean scores, and the runs that collapsed or failed, by name."""
    teachers = {f"{100 * line.teacher_score:.2f} %" for line in lines if not math.isnan(line.teacher_score)}
    return [f"Teacher: {', '.join(sorted(teachers))} (mean).", *_troubles(lines)]


def _troubles(lines: Sequence[Line]) -> list[str]:
    """Return the runs that collapsed or failed, by name."""
    found = []
    for what in ("collapsed", "failed"):
        runs = {f"{line.title}, {line.column}": getattr(line, what) for line in lines}
        named = [f"{title} ({'; '.join(each)})" for title, each in runs.items() if each]
        if named:
            found.append(f"{what.capitalize()}: {'; '.join(named)}.")
    return found


def below_floor(settings: ComparisonSettings, lines: Sequence[Line]) -> list[str]:
    """Return which rows' means lie not above the floor's; nothing without a floor."""
    floor = next((line.score.mean for line in lines if line.row == settings.floor), math.nan)
    found = [
        f"{line.title}, {line.column}"
        for line in lines
        if line.row != settings.floor and line.macs and line.score.mean <= floor
    ]
    return [f"Not above the floor: {'; '.join(found)}."] if found else []


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
            found.append(f"{title_of(settings, lines)} less {line.title}: no run of both has ended well.")
            continue
        theirs = line.difference.interval
        ours = replace(theirs, mean=-theirs.mean)
        named = f"{line.pair}, {line.column}" if line.pair else line.column
        margin = f"{-100 * rival.margin:.1f} points"
        if math.isnan(ours.half_width):
            verdict = f"one pair says nothing about the margin of {margin}"
        else:
            verdict = f"its lower end lies {'above' if ours.low > -rival.margin else 'not above'} {margin}"
        words = [
            f"{title_of(settings, lines)} less {line.title} ({named}): {points(ours)} points, n = {ours.n}, {verdict}"
        ]
        for share, each in line.reached.items():
            if each.ratio is None:
                words.append(f"both reached {share:.0%} of the ceiling in {each.pairs} of {each.of_pairs} whole pairs")
                continue
            middle, low, high = (1 / value for value in each.ratio)
            words.append(
                f"{line.title}'s synthesis to {share:.0%} of the ceiling costs {middle:.2f} times as much "
                f"[{high:.2f}, {low:.2f}], n = {each.pairs} of {each.of_pairs} whole pairs"
            )
        if rival.summarised_ratio is not None:
            words.append(f"summaries of the publication say {rival.summarised_ratio:g}, of another cost")
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


def title_of(settings: ComparisonSettings, lines: Sequence[Line]) -> str:
    """Return the title of the reference, which the others are compared with."""
    return next((line.title for line in lines if line.row == settings.reference), settings.reference)


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))

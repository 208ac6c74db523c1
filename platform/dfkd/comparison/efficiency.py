"""What a run had cost when its student was good enough: the claim of faster training, measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from dfkd.comparison.results import RunResult
from dfkd.comparison.statistics import ratio_interval

SHARES = (0.9, 0.95)  # of the ceiling's validation score
COSTS = ("synthesis_macs", "macs", "synthesis_seconds", "seconds")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """How the runs of a row reached a score.

    Attributes:
        runs: all of them.
        reached: those that did.
        median: of each cost over all runs, those that never reach it as the costliest; infinite where the median run
            does not.
        ratio: geometric mean of the reference's synthesis MACs over the row's, over pairs that both reached it, with
            the ends of its 95 % interval; None below two such pairs.
        pairs: how many those are.
        of_pairs: of so many whose runs both ended well.
    """

    runs: int
    reached: int
    median: dict[str, float]
    ratio: tuple[float, float, float] | None = None
    pairs: int = 0
    of_pairs: int = 0


def cost_until(result: RunResult, score: float) -> dict[str, float] | None:
    """Return what a run had cost at the end of its first epoch with this validation score, or None if it never had."""
    for index, value in enumerate(result.curve.get("validation", ())):
        if value >= score:
            return {name: result.curve[name][index] for name in COSTS}
    return None


def reached(
    results: Iterable[RunResult], reference: Iterable[RunResult], targets: dict[int, float], share: float
) -> Reached:
    """Return how a row's runs reached a share of the ceiling.

    Args:
        results: of the row, at one budget.
        reference: the runs of the reference row there.
        targets: the ceiling's validation score, by the teacher's seed.
        share: of it.
    """
    costs = {_cell(result): cost_until(result, share * targets[result.run.teacher]) for result in results}
    others = {_cell(result): cost_until(result, share * targets[result.run.teacher]) for result in reference}
    found = [cost for cost in costs.values() if cost is not None]
    missing = [math.inf] * (len(costs) - len(found))
    median = {name: statistics.median([cost[name] for cost in found] + missing) for name in COSTS} if costs else {}
    both = [(cost, other) for cell, cost in costs.items() if cost and (other := others.get(cell))]
    own, theirs = ([pair[side]["synthesis_macs"] for pair in both] for side in (0, 1))
    comparable = len(both) > 1 and min(own + theirs) > 0
    return Reached(
        runs=len(costs),
        reached=len(found),
        median=median,
        ratio=ratio_interval(own, theirs) if comparable else None,
        pairs=len(both),
        of_pairs=len(costs.keys() & others.keys()),
    )


def _cell(result: RunResult) -> tuple[int, int]:
    return result.run.teacher, result.run.seed

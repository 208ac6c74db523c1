"""Runs of a comparison that differ in their seeds alone: they have one schedule, and a plan says it once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dfkd.comparison.budget import ScaledRun, lengths_of
from dfkd.jobs.comparison_runs import PlannedRun
from dfkd.jobs.plan_lines import epochs_in_words
from dfkd.settings.comparison import RunName

UNITS = {"macs": "multiply-accumulates", "seconds": "seconds"}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Runs that differ in nothing but their seeds, so that their schedules and costs are the same.

    Attributes:
        run: one of them.
        count: how many are to do.
    """

    run: PlannedRun
    count: int

    @property
    def title(self) -> str:
        """What their names have in common."""
        return _title(self.run.name)


def kinds_of(planned: Sequence[PlannedRun]) -> list[Kind]:
    """Return the kinds of these runs, in the order of their first ones."""
    alike: dict[str, list[PlannedRun]] = {}
    for run in planned:
        alike.setdefault(_title(run.name), []).append(run)
    return [Kind(run=runs[0], count=len(runs)) for runs in alike.values()]


def kind_in_words(kind: Kind, unit: str) -> str:
    """Return how many runs of a kind are to do, and how long each is, or why it cannot be.

    Args:
        kind: of runs.
        unit: of their costs: ``macs`` or ``seconds``.
    """
    run = kind.run
    runs = f"{kind.title}, {kind.count} run{'s' if kind.count > 1 else ''}"
    if run.refusal is not None:
        return f"{runs}: refused: {run.refusal}"
    if not run.is_distilled:
        return f"{runs}: outside the budget"
    if run.scaled is None:
        return f"{runs}: will fail: {run.costs.error}"
    return f"{runs}: {_schedule_in_words(run.scaled, unit)}"


def _schedule_in_words(scaled: ScaledRun, unit: str) -> str:
    lengths, share = lengths_of(scaled.settings), scaled.cost.warm_up_share
    many = "s" if lengths.rounds_per_epoch > 1 else ""
    rounds = f", each after {lengths.rounds_per_epoch} round{many} of {lengths.round_steps} steps of synthesis"
    before = f", {share:.0%} of them before the student learns"
    return "; ".join(
        [
            f"epochs: {epochs_in_words(scaled.settings)}{rounds if lengths.rounds_per_epoch else ''}",
            f"{scaled.cost.total:.3g} {UNITS[unit]}{before if share else ''}",
            *scaled.notes,
        ]
    )


def _title(name: RunName) -> str:
    return str(name).removesuffix(f".t{name.teacher}.s{name.seed}")

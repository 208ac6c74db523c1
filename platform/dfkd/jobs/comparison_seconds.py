"""About how long the runs of a comparison take on this machine: their parts are timed, and added up by schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dfkd.assembly import Materials, build_distillation, choose_device
from dfkd.cluster.pool import Task
from dfkd.comparison.budget import cost_of, lengths_of
from dfkd.comparison.cost import PartCosts, time_parts
from dfkd.jobs.comparing import Comparing, cost_key
from dfkd.jobs.comparison_kinds import Kind
from dfkd.jobs.console import duration
from dfkd.jobs.epoch_seconds import time_judging
from dfkd.jobs.plan_lines import Line
from dfkd.jobs.time_left import seconds_left
from dfkd.settings.experiment import ExperimentSettings


@dataclass(frozen=True, kw_only=True)
class TimedKind:
    """Runs of one kind, and the seconds of each.

    Attributes:
        count: of runs.
        seconds: of one, with its evaluations; without transfer tasks.
    """

    count: int
    seconds: float


def time_kinds(comparing: Comparing, kinds: Sequence[Kind]) -> list[TimedKind]:
    """Return the kinds with their seconds; one whose parts cannot be timed is told and left out.

    Args:
        comparing: a comparison in a dry run.
        kinds: of scaled runs.
    """
    parts = {_key(kind): kind.run.costs.seconds for kind in kinds if kind.run.costs.seconds is not None}
    untimed = {_key(kind): kind for kind in kinds if _key(kind) not in parts}
    tasks = [
        Task(name=key, function=time_parts, arguments=_arguments(comparing, kind)) for key, kind in untimed.items()
    ]
    for finished in comparing.run(tasks):
        if finished.error is None:
            parts[finished.name] = finished.value
        else:
            comparing.console.say(f"{untimed[finished.name].title}: not timed, {finished.error}")
    timed = [kind for kind in kinds if _key(kind) in parts]
    judging = {kind.run.name.pair: _judge(*_arguments(comparing, kind)) for kind in reversed(timed)}
    return [
        TimedKind(count=kind.count, seconds=_seconds(kind, parts[_key(kind)], judging[kind.run.name.pair]))
        for kind in timed
    ]


def time_lines(timed: Sequence[TimedKind], *, at_once: int | None) -> list[Line]:
    """Return how long these runs take in all, by the mean of one.

    Args:
        timed: their kinds.
        at_once: runs at a time; None where a cluster decides.
    """
    if not timed:
        return [("time", "unknown: no part could be timed")]
    count, each = sum(kind.count for kind in timed), [kind.seconds for kind in timed]
    mean = sum(kind.count * kind.seconds for kind in timed) / count
    left = seconds_left(mean_seconds=mean, running=[], to_start=count, concurrency=at_once or 1)
    order = f"{at_once} at a time" if at_once else "one after the other"
    shortest, longest = duration(min(each)), duration(max(each))
    span = shortest if shortest == longest else f"{shortest} to {longest}"
    runs = f"{count} run{'s' if count > 1 else ''}, {order}, of {span} each"
    how = "their parts timed here and now, with what is asked of the student after every epoch"
    return [("time", f"about {duration(left)} for {runs}: {how}")]


def _seconds(kind: Kind, parts: PartCosts, judging: float) -> float:
    assert kind.run.scaled is not None
    settings = kind.run.scaled.settings
    return cost_of(lengths_of(settings), parts).total + settings.total_epochs * judging


def _judge(settings: ExperimentSettings, materials: Materials) -> float:
    run = build_distillation(settings, materials.teacher, device=choose_device(settings), images=materials.images)
    return time_judging(run, settings, materials)


def _key(kind: Kind) -> str:
    return cost_key(kind.run.unscaled, coarse=True)


def _arguments(comparing: Comparing, kind: Kind) -> tuple[ExperimentSettings, Any]:
    settings, name = kind.run.unscaled, kind.run.name
    return settings, comparing.materials(settings, (name.pair, name.teacher))

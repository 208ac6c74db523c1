"""One search over a table of runs, in the order of events, and its regret. Nothing is trained here."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from ray.tune.schedulers import ASHAScheduler
from search_table import DEFAULT, GRID, Curve, Place

from dfkd.cluster.searcher import ATTEMPTS
from dfkd.search.optuna_space import random_points, sampler_at
from dfkd.settings.search import SamplerSettings


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way to search.

    Attributes:
        sampler: who proposes; its seed is the replay's.
        stops: whether trials are stopped early.
    """

    sampler: SamplerSettings
    stops: bool = False


ARMS = {
    "random": Arm(sampler=SamplerSettings(name="random")),
    "random, early stopping": Arm(sampler=SamplerSettings(name="random"), stops=True),
    "tpe": Arm(sampler=SamplerSettings(name="tpe")),
    "tpe, early stopping": Arm(sampler=SamplerSettings(name="tpe"), stops=True),
    "tpe after 4 random points": Arm(sampler=SamplerSettings(name="tpe", startup_trials=4)),
    "tpe after 4 random points, early stopping": Arm(sampler=SamplerSettings(name="tpe", startup_trials=4), stops=True),
    "gp after 4 random points": Arm(sampler=SamplerSettings(name="gp", startup_trials=4)),
}


def search(
    table: Mapping[Place, Curve],
    arm: Arm,
    *,
    seed: int,
    seconds: float,
    slots: int,
    grace_epochs: int,
    reduction_factor: int,
) -> list[tuple[float, Place]]:
    """Search the table for so many seconds with so many trials at a time; return whole trials with their ends."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, axes = optuna.create_study(direction="maximize"), distributions()
    settings = replace(arm.sampler, seed=seed)
    epochs = len(next(iter(table.values())).seconds)
    rules = ASHAScheduler(max_t=epochs + 1, grace_period=grace_epochs, reduction_factor=reduction_factor)
    (bracket,) = rules._brackets  # Ray 2.60
    rungs = sorted(int(rung) for rung, _ in bracket._rungs if rung <= epochs) if arm.stops else []
    stops = [*(rung for rung in rungs if rung < epochs), epochs]
    known: set[Place] = set()
    whole: list[tuple[float, Place]] = []
    events: list[tuple[float, int, int]] = []  # when a trial comes to a rung or to its end
    trials: list[tuple[optuna.trial.Trial, Place, float]] = []

    def begin(now: float) -> None:
        if len(known) == len(table):
            return
        if not trials:
            study.enqueue_trial(dict(zip(GRID, DEFAULT, strict=True)))
        for attempt in range(ATTEMPTS):
            study.sampler = sampler_at(settings, len(known), attempt)
            trial = study.ask(axes)
            place = place_of(trial.params)
            if place not in known:
                break
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            points = (place_of(point) for point in random_points(axes, seed=len(known)))
            place = next(each for each in points if each not in known)
            study.enqueue_trial(dict(zip(GRID, place, strict=True)))
            trial = study.ask(axes)
        known.add(place)
        trials.append((trial, place, now))
        heapq.heappush(events, (now + table[place].seconds[stops[0] - 1], len(trials) - 1, 0))

    for _ in range(slots):
        begin(0.0)
    while events:
        now, number, at = heapq.heappop(events)
        if now > seconds:
            break
        trial, place, began = trials[number]
        curve, epoch = table[place], stops[at]
        value = curve.agreement[epoch - 1]
        trial.report(value, epoch)
        if epoch == epochs:
            study.tell(trial, value)
            whole.append((now, place))
        elif bracket.on_result(SimpleNamespace(trial_id=str(number)), epoch, value) == "STOP" and number > 0:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            heapq.heappush(events, (began + curve.seconds[stops[at + 1] - 1], number, at + 1))
            continue
        begin(now)
    return whole


def distributions() -> dict[str, BaseDistribution]:
    """Return each axis of the grid for Optuna: numbers by their order, the others as choices."""
    found: dict[str, BaseDistribution] = {}
    for path, values in GRID.items():
        ordered = not isinstance(values[0], str)
        found[path] = (
            IntDistribution(0, len(values) - 1) if ordered else CategoricalDistribution(tuple(range(len(values))))
        )
    return found


def place_of(params: Mapping[str, Any]) -> Place:
    """Return where on the grid a point of Optuna's lies."""
    return tuple(int(params[path]) for path in GRID)


def regrets(table: Mapping[Place, Curve], whole: Sequence[tuple[float, Place]], at: float) -> tuple[float, float]:
    """Return the regret of a search's incumbent at a moment: in validation accuracy, and in agreement."""
    ended = [place for end, place in whole if end <= at]
    if not ended:
        return math.nan, math.nan
    incumbent = table[max(ended, key=lambda place: table[place].agreement[-1])]
    best_validation = max(curve.validation[-1] for curve in table.values())
    best_agreement = max(curve.agreement[-1] for curve in table.values())
    return best_validation - incumbent.validation[-1], best_agreement - incumbent.agreement[-1]

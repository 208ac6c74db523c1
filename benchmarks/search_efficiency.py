"""What samplers and early stopping save: regret against compute, replayed on a table of runs that were made.

``record`` runs every point of a small grid once and keeps each one's curve: agreement and KL on the probe set, the KD
loss, validation accuracy and seconds after every epoch. ``replay`` lets searches walk over that table in the order of
events, with the product's own samplers and Ray Tune's own rule of early stopping, as often as one likes: a search costs
no training. A search's incumbent is its best whole trial by agreement, without the margin within which the product
prefers the default settings; its regret is what the best point of the table has more of validation accuracy, or of
agreement. How well each number that needs no real image ranks the runs of the table is printed too.

Searches move on the grid: what a sampler could do between its points is not tried, and a point has one seed, so that
luck is part of the table. Source of the method: Klein and Hutter, Tabular Benchmarks for Joint Architecture and
Hyperparameter Optimization, 2019.

Examples:
    python benchmarks/search_efficiency.py record search_spaces/digits_cae.yaml --table digits.json --at-once 2
    python benchmarks/search_efficiency.py replay --table digits.json --json search_efficiency.json
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from ray.tune.schedulers import ASHAScheduler

from dfkd.assembly import Materials
from dfkd.cluster.local_session import LocalSession
from dfkd.cluster.searcher import ATTEMPTS
from dfkd.cluster.worker import Report, run_worker
from dfkd.comparison.statistics import mean_interval
from dfkd.data import load_dataset
from dfkd.jobs.console import Console
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.probe_cache import obtain_probe_set
from dfkd.jobs.teacher import obtain_teacher
from dfkd.search.experiment_file import load_experiment
from dfkd.search.optuna_space import random_points, sampler_at
from dfkd.search.trust import rank_correlation
from dfkd.settings.search import SamplerSettings
from dfkd.tracking.home import default_tracking_uri, open_home

#: Points of the digits: within the ranges of ``digits_cae.yaml``, and a learning rate below them, for bad students.
GRID: dict[str, tuple[Any, ...]] = {
    "synthesis.weights.adversarial": (0.3, 1.0, 3.0),
    "synthesis.noise.num_sources": (1, 4),
    "synthesis.contrast.kind": ("none", "bank"),
    "distillation.learning_rate": (0.01, 0.03, 0.1, 0.3),
}
DEFAULT = (1, 1, 1, 2)  # the default settings' place on each axis
SHARES = (0.25, 0.5, 1.0)  # of a search's compute
#: Part of a curve -> key of a run's reports.
KEYS = {
    "agreement": "probe/agreement",
    "kl": "probe/kl",
    "kd_loss": "distillation/kd",
    "validation": "val/accuracy/top1",
}
Place = tuple[int, ...]


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


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A run of the table: values after each epoch in which the student learnt, and when each was over."""

    agreement: tuple[float, ...]
    kl: tuple[float, ...]
    kd_loss: tuple[float, ...]
    validation: tuple[float, ...]
    seconds: tuple[float, ...]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("record", "replay"))
    parser.add_argument("config", nargs="?", default="search_spaces/digits_cae.yaml", help="of the runs of the table")
    parser.add_argument("--table", required=True, metavar="FILE", help="the runs; what is in it is not run again")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="for every run")
    parser.add_argument("--at-once", type=int, default=2, help="runs at a time, and trials of a replayed search")
    parser.add_argument("--home", help="keeps the teacher (default: ~/.dfkd)")
    parser.add_argument("--trials", type=int, default=16, help="whole trials that a search's compute pays for")
    parser.add_argument("--seeds", type=int, default=20, help="searches of each arm")
    parser.add_argument("--grace-epochs", type=int, default=4)
    parser.add_argument("--reduction-factor", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


def record(arguments: argparse.Namespace) -> None:
    """Run what the table lacks."""
    file = Path(arguments.table)
    made_by = {"config": arguments.config, "set": arguments.set, "commit": commit(), "at_once": arguments.at_once}
    made_by["grid"] = {path: list(values) for path, values in GRID.items()}
    table: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {**made_by, "runs": {}}
    if other := [name for name, value in made_by.items() if table[name] != value]:
        raise SystemExit(f"{file}: its runs have another {' and '.join(other)}; give another --table")
    places = list(itertools.product(*(range(len(values)) for values in GRID.values())))
    missing = [place for place in places if name_of(place) not in table["runs"]]
    settings, _ = load_experiment(arguments.config, arguments.set)
    home, data = open_home(arguments.home), load_dataset(settings.dataset)
    uri, console = default_tracking_uri(home), Console(sys.stderr)
    teacher = obtain_teacher(settings, data, home=home, tracking_uri=uri, console=console)
    materials = Materials(teacher=teacher, validation=data.validation, probe=obtain_probe_set(teacher, home))
    table |= {"versions": versions(), "cpu_count": os.cpu_count()}
    with ProcessPoolExecutor(arguments.at_once, mp_context=get_context("spawn")) as pool:
        given = (itertools.repeat(each) for each in (arguments.config, tuple(arguments.set), materials))
        for place, curve in zip(missing, pool.map(run_point, missing, *given), strict=True):
            table["runs"][name_of(place)] = curve
            partial = file.with_suffix(".partial")
            partial.write_text(json.dumps(table, indent=1) + "\n")
            os.replace(partial, file)
            console.say(f"{len(table['runs'])}/{len(places)}: agreement {curve['agreement'][-1]:.4f}")


def run_point(place: Place, config: str, overrides: Sequence[str], materials: Materials) -> dict[str, list[float]]:
    """Run one point in this process, with one thread, and return its curve."""
    torch.set_num_threads(1)
    at = [f"{path}={values[index]}" for (path, values), index in zip(GRID.items(), place, strict=True)]
    settings, _ = load_experiment(config, [*overrides, *at])
    reports: list[Report] = []
    ended: list[float] = []
    began = time.monotonic()

    def report(metrics: Report) -> None:
        ended.append(time.monotonic() - began)
        reports.append(metrics)

    run_worker(settings, materials, LocalSession(torch.device("cpu"), report, None))
    first = settings.warm_up_epochs
    curve = {part: [each[key] for each in reports[first:]] for part, key in KEYS.items()}
    return curve | {"seconds": ended[first:]}


def place_of(params: Mapping[str, Any]) -> Place:
    """Return where on the grid a point of Optuna's lies."""
    return tuple(int(params[path]) for path in GRID)


def name_of(place: Place) -> str:
    """Return a place on the grid as a key of the table."""
    return ",".join(map(str, place))


def read_table(file: str) -> dict[Place, Curve]:
    """Return the curves of a whole table by their place."""
    stored = json.loads(Path(file).read_text())
    runs, points = stored["runs"], math.prod(map(len, GRID.values()))
    if stored["grid"] != {path: list(values) for path, values in GRID.items()} or len(runs) != points:
        raise SystemExit(f"{file}: has {len(runs)} runs of its grid; `record` makes {points} of this script's")
    return {
        tuple(map(int, name.split(","))): Curve(**{part: tuple(values) for part, values in curve.items()})
        for name, curve in runs.items()
    }


def distributions() -> dict[str, BaseDistribution]:
    """Return each axis of the grid for Optuna: numbers by their order, the others as choices."""
    found: dict[str, BaseDistribution] = {}
    for path, values in GRID.items():
        ordered = not isinstance(values[0], str)
        found[path] = (
            IntDistribution(0, len(values) - 1) if ordered else CategoricalDistribution(tuple(range(len(values))))
        )
    return found


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


def regrets(table: Mapping[Place, Curve], whole: Sequence[tuple[float, Place]], at: float) -> tuple[float, float]:
    """Return the regret of a search's incumbent at a moment: in validation accuracy, and in agreement."""
    ended = [place for end, place in whole if end <= at]
    if not ended:
        return math.nan, math.nan
    incumbent = table[max(ended, key=lambda place: table[place].agreement[-1])]
    best_validation = max(curve.validation[-1] for curve in table.values())
    best_agreement = max(curve.agreement[-1] for curve in table.values())
    return best_validation - incumbent.validation[-1], best_agreement - incumbent.agreement[-1]


def ranks(table: Mapping[Place, Curve]) -> dict[str, str]:
    """Return how each number that needs no real image ranks the runs: its correlation with validation accuracy."""
    validation = [curve.validation[-1] for curve in table.values()]
    goodness = {
        "agreement": [curve.agreement[-1] for curve in table.values()],
        "kl": [-curve.kl[-1] for curve in table.values()],
        "last KD loss": [-curve.kd_loss[-1] for curve in table.values()],
    }
    return {name: str(rank_correlation(values, validation)) for name, values in goodness.items()}


def replay(arguments: argparse.Namespace) -> None:
    """Replay every arm under every seed, and print regrets at shares of the compute."""
    table = read_table(arguments.table)
    whole_trial = sum(curve.seconds[-1] for curve in table.values()) / len(table)
    seconds = arguments.trials * whole_trial / arguments.at_once
    options = {"grace_epochs": arguments.grace_epochs, "reduction_factor": arguments.reduction_factor}
    rows: dict[str, dict[str, Any]] = {}
    for name, arm in ARMS.items():
        searches = [
            search(table, arm, seed=seed, seconds=seconds, slots=arguments.at_once, **options)
            for seed in range(arguments.seeds)
        ]
        row: dict[str, Any] = {"whole_trials": sum(map(len, searches)) / len(searches)}
        for share in SHARES:
            pairs = [regrets(table, whole, share * seconds) for whole in searches]
            for kind, values in zip(("validation", "agreement"), zip(*pairs, strict=True), strict=True):
                interval = mean_interval([value for value in values if not math.isnan(value)])
                row[f"{kind}_regret_at_{share:g}"] = [interval.mean, interval.half_width, interval.n]
        rows[name] = row
    print(
        "| search | " + " | ".join(f"{kind}, {share:.0%}" for kind in ("agreement", "validation") for share in SHARES)
    )
    print("|---|" + "---:|" * (2 * len(SHARES)))
    for name, row in rows.items():
        cells = [row[f"{kind}_regret_at_{share:g}"] for kind in ("agreement", "validation") for share in SHARES]
        print(
            f"| {name} | " + " | ".join(f"{100 * mean:.2f} +- {100 * half:.2f} ({n})" for mean, half, n in cells) + " |"
        )
    correlations = ranks(table)
    for name, found in correlations.items():
        print(f"{name} against validation accuracy: {found}")
    if arguments.json:
        facts = {"table": Path(arguments.table).name, "points": len(table), "seeds": arguments.seeds}
        facts |= {"seconds": seconds, "at_once": arguments.at_once, **options, "arms": rows, "ranks": correlations}
        facts |= {"commit": commit(), "versions": versions()}
        Path(arguments.json).write_text(json.dumps(facts, indent=1) + "\n")


def main() -> None:
    arguments = parse_arguments()
    (record if arguments.what == "record" else replay)(arguments)


if __name__ == "__main__":
    main()

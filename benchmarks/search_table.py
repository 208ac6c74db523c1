"""The table of runs that searches are replayed on: every point of a small grid, run once, with its curve."""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from dfkd.assembly import Materials
from dfkd.cluster.local_session import LocalSession
from dfkd.cluster.worker import Report, run_worker
from dfkd.data import load_dataset
from dfkd.jobs.console import Console
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.probe_cache import obtain_probe_set
from dfkd.jobs.teacher import obtain_teacher
from dfkd.search.experiment_file import load_experiment
from dfkd.tracking.home import default_tracking_uri, open_home

#: Points of the digits: within the ranges of ``digits_cae.yaml``, and a learning rate below them, for bad students.
GRID: dict[str, tuple[Any, ...]] = {
    "synthesis.weights.adversarial": (0.3, 1.0, 3.0),
    "synthesis.noise.num_sources": (1, 4),
    "synthesis.contrast.kind": ("none", "bank"),
    "distillation.learning_rate": (0.01, 0.03, 0.1, 0.3),
}
DEFAULT = (1, 1, 1, 2)  # the default settings' place on each axis
#: Part of a curve -> key of a run's reports.
KEYS = {
    "agreement": "probe/agreement",
    "kl": "probe/kl",
    "kd_loss": "distillation/kd",
    "validation": "val/accuracy/top1",
}
Place = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A run of the table: values after each epoch in which the student learnt, and when each was over."""

    agreement: tuple[float, ...]
    kl: tuple[float, ...]
    kd_loss: tuple[float, ...]
    validation: tuple[float, ...]
    seconds: tuple[float, ...]


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

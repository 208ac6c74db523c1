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
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_replay import ARMS, regrets, search
from search_table import Curve, Place, read_table, record

from dfkd.comparison.statistics import mean_interval
from dfkd.jobs.environment import commit, versions
from dfkd.search.trust import rank_correlation

SHARES = (0.25, 0.5, 1.0)  # of a search's compute


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


def ranks(table: Mapping[Place, Curve]) -> dict[str, str]:
    """Return how each number that needs no real image ranks the runs: its correlation with validation accuracy."""
    validation = [curve.validation[-1] for curve in table.values()]
    goodness = {
        "agreement": [curve.agreement[-1] for curve in table.values()],
        "kl": [-curve.kl[-1] for curve in table.values()],
        "last KD loss": [-curve.kd_loss[-1] for curve in table.values()],
    }
    return {name: str(rank_correlation(values, validation)) for name, values in goodness.items()}


def main() -> None:
    arguments = parse_arguments()
    (record if arguments.what == "record" else replay)(arguments)


if __name__ == "__main__":
    main()

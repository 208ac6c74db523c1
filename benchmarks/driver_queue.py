"""How long free slots of a large cluster wait for the driver: a model, calibrated on ``many_trials.py``.

The driver is a queue with one server. It takes reports, and turns trials over: hears of the end, asks the searcher,
starts the next. Both take random times (gamma), whose means are those at which the model of the measured run, with as
many slots and trials without length, needs as long in all and a report waits as long at the median. Each running trial
adds ``PER_RUNNING`` to a turn-over. All that a machine's other work costs is in the means: they are upper bounds.

Example:
    python benchmarks/driver_queue.py benchmarks/results/many_trials_1000.json --slots 64
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PER_RUNNING = 0.0005  # seconds: a trial's settings are resolved anew to say how long the search will still take
SHAPE = 4.0  # of the gamma distribution of the driver's times: their deviation is half of their mean
LENGTHS = (60.0, 120.0, 600.0, 3600.0)  # mean seconds of a trial


@dataclass(frozen=True, kw_only=True)
class Driver:
    """Mean seconds that the driver takes for a report, and for turning a trial over."""

    report: float
    turn: float


@dataclass
class Waits:
    """Seconds that reports and free slots waited, and that the search took."""

    reports: list[float] = field(default_factory=list)
    slots: list[float] = field(default_factory=list)
    seconds: float = 0.0


def simulate(driver: Driver, *, slots: int, trials: int, reports: float, length: float, seed: int = 0) -> Waits:
    """Run trials, each of half to 1.5 times ``length``, on slots that all begin at once."""
    draw, waits, driver_free, started = random.Random(seed), Waits(), 0.0, min(slots, trials)

    def plan(began: float, slot: int) -> tuple[float, int, int, float]:
        """Return a new trial's first report: when, of whom, how many follow, seconds between two."""
        number = int(reports) + (draw.random() < reports % 1)
        between = length * draw.uniform(0.5, 1.5) / number
        return began + between, slot, number - 1, between

    arrivals = [plan(0.0, slot) for slot in range(started)]
    heapq.heapify(arrivals)
    while arrivals:
        told, slot, left, between = heapq.heappop(arrivals)
        driver_free = max(told, driver_free) + draw.gammavariate(SHAPE, driver.report / SHAPE)
        waits.reports.append(driver_free - told)
        waits.seconds = driver_free
        if left:
            heapq.heappush(arrivals, (driver_free + between, slot, left - 1, between))
        elif started < trials:
            started += 1
            driver_free += draw.gammavariate(SHAPE, (driver.turn + PER_RUNNING * slots) / SHAPE)
            waits.slots.append(driver_free - told)
            heapq.heappush(arrivals, plan(driver_free, slot))
    return waits


def calibrate(found: dict[str, Any]) -> tuple[Driver, float]:
    """Return the driver of a measured run without trial lengths, and the mean number of a trial's reports."""
    asked, ended = found["asked"], found["ended"]
    reports = asked["epochs"] - ended.get("stopped", 0) / asked["trials"]  # one that is stopped lacks the last epoch
    each = found["seconds"] / asked["trials"]
    low, high = 0.0, each / reports
    for _ in range(20):
        middle = (low + high) / 2
        driver = Driver(report=middle, turn=max(each - reports * middle, 1e-6))
        waits = simulate(driver, slots=asked["concurrent"], trials=asked["trials"], reports=reports, length=0.0)
        low, high = (
            (low, middle)
            if statistics.median(waits.reports) > found["report_seconds"]["median"]
            else (middle, high)
        )  # fmt: skip
    return driver, reports


def table(found: dict[str, Any], *, slots: int, trials: int) -> str:
    """Return measured and modelled waits of free slots as a Markdown table."""
    driver, reports = calibrate(found)
    asked = found["asked"]
    lines = [["", "slots", "a trial, s", "free slot, s", "99 of 100"], ["---", "---:", "---:", "---:", "---:"]]
    real = found["free_slot_seconds"]
    lines.append(["measured", f"{asked['concurrent']}", "0", f"{real['median']:.2f}", f"{real['p99']:.2f}"])
    for count, length in [(asked["concurrent"], 0.0), *((slots, length) for length in LENGTHS)]:
        waits = simulate(driver, slots=count, trials=trials, reports=reports, length=length).slots
        lines.append(["model", f"{count}", f"{length:.0f}", f"{statistics.median(waits):.2f}", f"{p99(waits):.2f}"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def p99(seconds: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(seconds, n=100, method="inclusive")[98]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", help="what `many_trials.py --seconds 0 --json FILE` wrote")
    parser.add_argument("--slots", type=int, default=64, help="trials at a time")
    parser.add_argument("--trials", type=int, default=1000)
    arguments = parser.parse_args()
    print(table(json.loads(Path(arguments.result).read_text()), slots=arguments.slots, trials=arguments.trials))


if __name__ == "__main__":
    main()

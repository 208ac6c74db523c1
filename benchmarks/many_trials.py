"""What a search of many trials costs its driver: memory, processor time, and how long free slots wait.

Everything in the driver is the real thing: Ray Tune, the searcher with its study, early stopping, the listener, the
records, the journal and MLflow's own store. Only a trial is none: a process that waits, and reports numbers as a real
one does. One node stands for many: its CPUs are logical, so that ``--concurrent 64`` is 64 nodes with a trial each as
far as the driver can tell.

A slot is free from a trial's last report on, and waits until the next trial's function begins; what the driver does
with that report is part of the wait. Slots are alike: the n-th free slot is taken to get the n-th trial that begins.

Examples:
    python benchmarks/many_trials.py --trials 200 --concurrent 2 --json many_trials.json
    python benchmarks/many_trials.py --trials 1000 --concurrent 64 --seconds 60 --json many_trials.json
"""

from __future__ import annotations

import argparse
import base64
import bisect
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SPACE = "search_spaces/digits_cae.yaml"
MARKS = (1, 50, 100, 200, 500, 1000)  # ended trials after which the driver's memory is told
SETTLED = 50  # ended trials after which memory that still grows does so by the trial


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--concurrent", type=int, default=2, help="trials at a time, each a process")
    parser.add_argument("--seconds", type=float, default=0.0, help="of a trial on average; one takes half to 1.5 of it")
    parser.add_argument("--epochs", type=int, default=6, help="reports of a trial that is not stopped early")
    parser.add_argument("--metrics", type=int, default=30, help="numbers in a report")
    parser.add_argument("--image-side", type=int, default=32, help="pixels of the images in the last report's picture")
    parser.add_argument("--machine", default="", help="what else to know of it: shared, niced")
    parser.add_argument("--json", metavar="FILE", help="write the numbers here")
    parser.add_argument("--table", nargs="+", metavar="FILE", help="run nothing, and print these results as a table")
    return parser.parse_args()


def waiting_trial(params: dict[str, Any], *, plan: Any, materials: dict[str, Any], objective: str) -> None:
    """Stand in for ``run_trial``. Imports nothing of ours: a machine is to hold many such processes."""
    import json
    import os
    import random
    import time
    from pathlib import Path

    from ray import tune

    began, epochs, waited = time.time(), materials["epochs"], None
    draw = random.Random(json.dumps(params, sort_keys=True))
    seconds, quality = materials["seconds"] * draw.uniform(0.5, 1.5), draw.random()
    for epoch in range(epochs):
        time.sleep(seconds / epochs)
        last = epoch == epochs - 1
        report: dict[str, Any] = {f"loss/{number}": draw.random() for number in range(materials["metrics"])}
        report |= {objective: quality * (epoch + 1) / epochs, "epoch": epoch, "finished": last, "device": "none"}
        report |= {"time/elapsed_seconds": time.time() - began}
        report |= {"preview_png": materials["picture"]} if last else {}
        told = time.time()
        with Path(materials["diary"], f"{os.getpid()}.jsonl").open("a") as lines:  # a stopped trial gets no further
            lines.write(json.dumps({"process": os.getpid(), "began": began, "told": told, "waited": waited}) + "\n")
        tune.report(report)
        waited = time.time() - told


@contextmanager
def cluster(slots: int) -> Iterator[None]:
    """Have a node of so many logical CPUs, with a folder and ports of its own."""
    from dfkd.jobs.ray_cluster import ENVIRONMENT

    os.environ.update(ENVIRONMENT)
    import ray

    with tempfile.TemporaryDirectory(prefix="dfkd-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        ray.init(
            address="local",
            num_cpus=slots,
            num_gpus=0,
            object_store_memory=2**28,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=folder,
        )
        try:
            yield
        finally:
            ray.shutdown()


def run(arguments: argparse.Namespace, home: Path) -> dict[str, Any]:
    """Run the searched trials of a space as its search does, and return what the driver and the slots saw."""
    import psutil
    import torch

    from dfkd.cluster import tuner
    from dfkd.cluster.trial import TrialPlan
    from dfkd.cluster.trial_events import TrialEvents
    from dfkd.jobs import phases
    from dfkd.jobs.console import Console
    from dfkd.jobs.running import Running
    from dfkd.jobs.search_folder import new_search_folder
    from dfkd.jobs.trial_records import TrialRecords
    from dfkd.preview import png_grid
    from dfkd.search.load import load_space
    from dfkd.synthesis.banked import PREVIEW_IMAGES
    from dfkd.tracking.home import default_tracking_uri
    from dfkd.tracking.mlflow_tracker import MlflowTracking

    process, rows = psutil.Process(), []

    def note() -> None:
        times = process.cpu_times()
        rows.append((time.time(), process.memory_info().rss / 2**30, times.user + times.system))

    class DriverPlan(TrialPlan):
        """Stays in the driver: a trial's process that read it would import torch."""

        def __reduce__(self) -> tuple[Any, ...]:
            return str, ()

    class DriversRunning(Running):
        def plan(self, **changes: Any) -> TrialPlan:
            return DriverPlan(**vars(super().plan(**changes)))

    hear_end = TrialEvents.on_trial_complete

    def hear_end_and_note(self: TrialEvents, *heard: Any, **info: Any) -> None:
        hear_end(self, *heard, **info)
        note()

    tuner.run_trial, TrialEvents.on_trial_complete = waiting_trial, hear_end_and_note  # type: ignore[method-assign]
    short = [f"distillation.epochs={arguments.epochs - 1}", "synthesis.warm_up_epochs=1"]
    space = load_space(SPACE, short, trials=arguments.trials + 1)  # one is the check with two workers, not run here
    folder, diary = new_search_folder(home, space), home / "diary"
    diary.mkdir()
    noise = torch.randint(0, 256, (PREVIEW_IMAGES, 3, arguments.image_side, arguments.image_side), dtype=torch.uint8)
    task = {name: getattr(arguments, name) for name in ("epochs", "seconds", "metrics")}
    task |= {"diary": str(diary), "picture": base64.b64encode(png_grid(noise)).decode()}
    with MlflowTracking(default_tracking_uri(home), home, folder.search_id) as tracking:
        tracking.open_parent(space.settings.name, folder.search_id, {})
        running = DriversRunning(
            space=space,
            folder=folder,
            storage=str(folder.path),
            tracking_uri=default_tracking_uri(home),
            objective=phases.objective_of(space),
            materials=task,  # type: ignore[arg-type]
            data=None,  # type: ignore[arg-type]
            records=TrialRecords(folder.path / "trial_records"),
            tracking=tracking,
            console=Console((home / "console.txt").open("w")),
        )
        note()
        phases.search_trials(running)
        note()
        tracking.flush(timeout_seconds=600)
        note()
    lines = [json.loads(line) for file in diary.iterdir() for line in file.read_text().splitlines()]
    statuses = [record.status for record in running.records.all()]
    return {"ended": {status: statuses.count(status) for status in sorted(set(statuses))}} | summary(
        rows, lines, trials=arguments.trials, concurrent=arguments.concurrent
    )


def summary(
    rows: Sequence[tuple[float, float, float]], lines: Sequence[dict[str, Any]], *, trials: int, concurrent: int
) -> dict[str, Any]:
    """Return the numbers of a run.

    Args:
        rows: time, GiB and processor seconds of the driver: before the first trial, after the end of each, after the
            last one's, and once MLflow has all.
        lines: what trials wrote before each report.
        trials: that were wanted.
        concurrent: at a time.
    """
    memory = [row[1] for row in rows]
    delays, waits = slot_delays(lines, concurrent), [line["waited"] for line in lines if line["waited"] is not None]
    settled = memory[SETTLED:-2]
    slope = statistics.linear_regression(range(len(settled)), settled).slope if len(settled) > 1 else None
    began, over, delivered = rows[0], rows[-2], rows[-1]
    own = sum(line["told"] - line["began"] for line in last_lines(lines)) - sum(waits)
    return {
        "driver_gib": {"before": memory[0], **{str(mark): memory[mark] for mark in MARKS if mark <= trials}},
        "driver_gib_at_end": delivered[1],
        "driver_gib_at_most": max(memory),
        "driver_gib_per_100_trials": slope and 100 * slope,
        "driver_cpu_seconds_per_trial": (delivered[2] - began[2]) / trials,
        "seconds": over[0] - began[0],
        "seconds_until_mlflow_has_all": delivered[0] - over[0],
        "overhead_seconds_per_trial": ((over[0] - began[0]) * concurrent - own) / trials,
        "free_slot_seconds": quantiles(delays),
        "report_seconds": quantiles(waits),
    }


def last_lines(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last line of each trial; two processes begin none at the same microsecond."""
    return list({line["began"]: line for line in sorted(lines, key=lambda line: float(line["told"]))}.values())


def slot_delays(lines: Sequence[dict[str, Any]], slots: int) -> list[float]:
    """Return how long slots were free before their next trial began, from when each had its first process."""
    trials = last_lines(lines)
    processes: dict[int, float] = {}
    for trial in trials:
        processes[trial["process"]] = min(trial["began"], processes.get(trial["process"], math.inf))
    settled = sorted(processes.values())[:slots][-1]
    free = sorted(trial["told"] for trial in trials)
    began = sorted(trial["began"] for trial in trials)
    after = bisect.bisect_right(free, settled)  # as many trials had ended by then
    return [begin - end for end, begin in zip(free[after:], began[slots + after :], strict=False)]


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median, the 99th percentile and the largest."""
    if len(seconds) < 2:
        return {}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"median": cuts[49], "p99": cuts[98], "max": max(seconds)}


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return results as a Markdown table, memory in GiB."""
    memory = ("before", "200", "500", "1000")
    columns = [
        "trials",
        "at a time",
        *(f"{mark}, GiB" for mark in memory),
        "processor, s a trial",
        "overhead, s a trial",
    ]
    columns += ["free slot, s", "99 of 100", "a report, s", "99 of 100"]
    lines = [columns, ["---:"] * len(columns)]
    for found in results:
        gib, waits = found["driver_gib"], (found["free_slot_seconds"], found["report_seconds"])
        line = [f"{found['asked']['trials']}", f"{found['asked']['concurrent']}"]
        line += [f"{gib[mark]:.2f}" if mark in gib else "" for mark in memory]
        line += [f"{found['driver_cpu_seconds_per_trial']:.2f}", f"{found['overhead_seconds_per_trial']:.1f}"]
        lines.append([*line, *(f"{wait[which]:.2f}" for wait in waits for which in ("median", "p99"))])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    from dfkd.jobs.environment import commit, versions

    arguments = parse_arguments()
    if arguments.table:
        print(table([json.loads(Path(file).read_text()) for file in arguments.table]))
        return
    asked = {name: value for name, value in vars(arguments).items() if name not in ("json", "machine", "table")}
    made_with = {"commit": commit(), "versions": versions()}  # now: the files may change before a long run ends
    with cluster(arguments.concurrent), tempfile.TemporaryDirectory() as home:
        found = run(arguments, Path(home))
    machine = {"cpu_count": os.cpu_count(), "load_average": os.getloadavg()[0], "machine": arguments.machine}
    text = json.dumps({"asked": asked} | found | machine | made_with, indent=1)
    print(text)
    if arguments.json:
        Path(arguments.json).write_text(text + "\n")


if __name__ == "__main__":
    main()

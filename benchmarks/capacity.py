"""What a search takes on many GPUs, from what its steps cost: operations that were counted, rates that are assumed.

A pass takes as long as its operations or its bytes, whichever is longer, at the rates that a GPU achieves
(``--teraflops``, ``--terabytes``), or as long as ``floor.py`` found on one (``--floor``). A step is its passes over the
share of a run's time that they are (measured), with the all-reduce and the slowest worker of ``scaling.py``. An epoch
adds the platform's overhead (measured) and a checkpoint. Trials then run as many at a time as have their GPUs, one
after another with the gaps that were measured; Ray Tune's own rule decides over random results who is stopped early.

What is measured lies in ``benchmarks/results``; docs/capacity.md says by which commands, and what the model leaves out.

Examples:
    python benchmarks/capacity.py search_spaces/imagenet_cae.yaml --trials 64
    python benchmarks/capacity.py search_spaces/imagenet_cae.yaml --trials 64 --teraflops 60 --json capacity.json
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import config_benchmark
import network_passes
import torch
from ray.tune.schedulers import ASHAScheduler
from scaling import predicted_step

from dfkd.cluster.resources import trials_that_fit
from dfkd.jobs.environment import commit
from dfkd.search.load import load_space
from dfkd.search.space import SearchSpace
from dfkd.settings.experiment import ExperimentSettings

RESULTS = Path(__file__).parent / "results"
CLUSTERS = ((8, 4), (64, 4), (512, 4), (512, 8))  # GPUs of the cluster and of a trial
REPEATS = 20  # random results for trials to have
HOUR = 3600.0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", help="a file of search_spaces/")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--floor", metavar="FILE", help="what `floor.py --json FILE` found on a GPU, for its passes")
    parser.add_argument("--teraflops", type=float, default=20.0, help="10^12 operations a second that a GPU achieves")
    parser.add_argument("--terabytes", type=float, default=1.0, help="10^12 bytes a second of a GPU's own memory")
    parser.add_argument("--spread", type=float, default=0.02, help="of a worker's step times: deviation over mean")
    parser.add_argument("--latency", type=float, default=2e-5, help="seconds of one hop between GPUs")
    parser.add_argument("--bandwidth", type=float, default=1e10, help="bytes a second between GPUs")
    parser.add_argument("--write", type=float, default=5e8, help="bytes a second of a worker's checkpoint")
    parser.add_argument("--json", metavar="FILE", help="write the numbers here")
    return parser.parse_args()


def measured() -> dict[str, float]:
    """Return what was measured: shares of a run's time, and seconds between trials."""
    throughput = read("throughput_cifar10_16px.json")
    results = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("digits/seed-*.json"))]
    starts = [trial["startup_seconds"] for result in results for trial in result["trials"] if trial["workers"] > 1]
    return {
        "distillation_share_of_floor": throughput["distillation_share_of_floor"],
        "synthesis_share_of_floor": throughput["synthesis_share_of_floor"],
        "platform_overhead": max(0.0, read("platform_overhead.json")["overhead_of_pairs"][0]),  # below 0 it is spread
        "start_seconds": statistics.median(starts),
        "free_slot_seconds": read("many_trials_1000.json")["free_slot_seconds"]["p99"],
    }


def image_seconds(arguments: argparse.Namespace) -> dict[str, float]:
    """Return the seconds of one image's share of each pass on one GPU."""
    cost = json.loads(Path(arguments.floor).read_text()) if arguments.floor else read("floor_imagenet_cpu.json")
    batches = {"teacher": cost["batch_sizes"]["student"], **cost["batch_sizes"]}
    if arguments.floor:
        return {name: each["milliseconds"] / 1e3 / batches[name] for name, each in cost["passes"].items()}
    rates = {"gflop": 1e3 * arguments.teraflops, "megabytes": 1e6 * arguments.terabytes}
    return {
        name: max(each[unit] / rate for unit, rate in rates.items()) / batches[name]
        for name, each in cost["passes"].items()
    }


def read(name: str) -> dict[str, Any]:
    """Return a result file."""
    found: dict[str, Any] = json.loads((RESULTS / name).read_text())
    return found


def student_bytes(settings: ExperimentSettings) -> int:
    """Return the bytes of the student's weights, which is also those of its gradients."""
    shape = config_benchmark.shape_of(settings, (3, 224, 224))
    _, student = network_passes.networks(settings, shape, torch.device("cpu"))
    return sum(4 * weights.numel() for weights in student.parameters())


def epoch_seconds(
    settings: ExperimentSettings, known: dict[str, float], arguments: argparse.Namespace
) -> dict[str, float]:
    """Return the seconds of steps and epochs; ``noise_epoch`` is of the noise floor, which takes one GPU."""
    synthesis: Any = settings.synthesis
    distillation, workers = settings.distillation, settings.workers
    channels, height, width = config_benchmark.shape_of(settings, (3, 224, 224))
    image = image_seconds(arguments)
    generator = synthesis.batch_size * image["synthesis"] / known["synthesis_share_of_floor"]
    student = image["teacher"] + image["student"]
    student *= distillation.batch_size / known["distillation_share_of_floor"]
    network = {"latency": arguments.latency, "bandwidth": arguments.bandwidth, "spread": arguments.spread}
    step = predicted_step(student / workers, known["student_bytes"], workers, **network)
    bank = synthesis.bank_capacity * channels * height * width  # a checkpoint's other parts are small beside it
    checkpoint = bank / workers / arguments.write / distillation.checkpoint_every
    rounds = generator / workers * synthesis.generator_steps
    overhead = 1 + known["platform_overhead"]
    return {
        "one_gpu_student_step": student,
        "student_step": step,
        "generator_step": generator / workers,
        "checkpoint_gigabytes": bank / 1e9,
        "warm_up_epoch": overhead * rounds * synthesis.warm_up_rounds + checkpoint,
        "epoch": overhead * (rounds * synthesis.rounds_per_epoch + step * distillation.steps_per_epoch) + checkpoint,
        "noise_epoch": overhead * student * distillation.steps_per_epoch,
    }


def search_seconds(
    space: SearchSpace, seconds: dict[str, float], *, slots: int, between: float, stops: bool, seed: int
) -> tuple[float, float]:
    """Return the seconds until the last searched trial ends, and the sum of all trials' seconds.

    Trials report random numbers, each the same after every epoch; the default settings, which come first, are never
    stopped.
    """
    settings, stopping, draw = space.resolve({}), space.settings.early_stopping, random.Random(seed)
    epochs, warm_up = settings.distillation.epochs, settings.warm_up_epochs
    rungs: list[int] = []
    if stops and stopping is not None:
        rules = ASHAScheduler(
            max_t=epochs + 1, grace_period=stopping.grace_epochs, reduction_factor=stopping.reduction_factor
        )
        (bracket,) = rules._brackets  # Ray 2.60
        rungs = sorted(int(rung) for rung, _ in bracket._rungs)
    steps = [*rungs, epochs]
    trials = [
        (SimpleNamespace(trial_id=str(number)), draw.random())
        for number in range(space.settings.trials - space.reserved_trials)
    ]
    busy, begun, over = 0.0, min(slots, len(trials)), 0.0
    first = between + warm_up * seconds["warm_up_epoch"] + steps[0] * seconds["epoch"]
    events = [(first, number, 0) for number in range(begun)]  # when a trial comes to a rung, or to its end
    while events:
        now, number, at = heapq.heappop(events)
        trial, result = trials[number]
        ends = steps[at] == epochs or (bracket.on_result(trial, steps[at], result) == "STOP" and number > 0)
        if not ends:
            heapq.heappush(events, (now + (steps[at + 1] - steps[at]) * seconds["epoch"], number, at + 1))
            continue
        over = now
        busy += between + warm_up * seconds["warm_up_epoch"] + steps[at] * seconds["epoch"]
        if begun < len(trials):
            heapq.heappush(events, (now + first, begun, 0))
            begun += 1
    return over, busy


def row(
    space: SearchSpace, known: dict[str, float], arguments: argparse.Namespace, *, gpus: int, workers: int
) -> dict[str, Any]:
    """Return what the search takes on so many GPUs with so many for a trial."""
    settings = replace(space.resolve({}), workers=workers)
    seconds, slots = epoch_seconds(settings, known, arguments), trials_that_fit(gpus, workers, wanted=None)
    between = known["start_seconds"] + known["free_slot_seconds"]
    whole, _ = search_seconds(space, seconds, slots=slots, between=between, stops=False, seed=0)
    drawn = [
        search_seconds(space, seconds, slots=slots, between=between, stops=True, seed=seed) for seed in range(REPEATS)
    ]
    stopped, busy = (statistics.fmean(column) for column in zip(*drawn, strict=True))
    one = settings.warm_up_epochs * seconds["warm_up_epoch"] + settings.distillation.epochs * seconds["epoch"]
    before = space.settings.seed_repeats * one
    after = space.settings.noise_floor * settings.distillation.epochs * seconds["noise_epoch"]
    at_a_time = min(slots, space.settings.trials)
    written = at_a_time * seconds["checkpoint_gigabytes"] / settings.distillation.checkpoint_every
    return {
        "gpus": gpus,
        "workers": workers,
        "trials_at_a_time": at_a_time,
        "trial_hours": one / HOUR,
        "all_trials_whole_hours": whole / HOUR,
        "with_early_stopping_hours": stopped / HOUR,
        "share_of_gpus_busy": busy * workers / (stopped * gpus),
        "gpu_hours": busy * workers / HOUR,
        "seed_repeats_hours": before / HOUR,
        "noise_floor_hours": after / HOUR,
        "in_all_hours": (before + stopped + after) / HOUR,
        "checkpoint_gigabytes_a_second": written / seconds["epoch"],
        "seconds": seconds,
    }


COLUMNS = {
    "GPUs": "{gpus}",
    "of a trial": "{workers}",
    "trials at a time": "{trials_at_a_time}",
    "a trial, h": "{trial_hours:.1f}",
    "all whole, h": "{all_trials_whole_hours:.0f}",
    "early stopping, h": "{with_early_stopping_hours:.0f}",
    "GPUs busy": "{share_of_gpus_busy:.0%}",
    "GPU-hours": "{gpu_hours:.0f}",
    "seed repeats, h": "{seed_repeats_hours:.1f}",
    "noise floor, h": "{noise_floor_hours:.1f}",
    "in all, h": "{in_all_hours:.0f}",
    "checkpoints, GB/s": "{checkpoint_gigabytes_a_second:.1f}",
}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as a Markdown table."""
    lines = [
        list(COLUMNS),
        ["---:"] * len(COLUMNS),
        *([form.format(**row) for form in COLUMNS.values()] for row in rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    arguments = parse_arguments()
    space = load_space(arguments.space, arguments.set, trials=arguments.trials)
    known = measured() | {"student_bytes": student_bytes(space.resolve({}))}
    rows = [row(space, known, arguments, gpus=gpus, workers=workers) for gpus, workers in CLUSTERS]
    print(table(rows))
    if arguments.json:
        facts = {"asked": vars(arguments), "measured": known, "rows": rows, "commit": commit()}
        Path(arguments.json).write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()

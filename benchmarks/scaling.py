"""How a run scales over data-parallel workers on this machine, and what a model of that says of many GPUs.

Every worker is a process with as many threads as ``--threads`` says, whatever the number of workers: several are
compared with one worker of one thread. ``weak`` gives each worker the config's batches, ``strong`` divides them. Each
count of workers is measured as it runs, and again with workers that run at the same time and do not talk: the
difference is communication, the rest is what they do to each other's caches and memory.

The model: a step takes ``compute(batch) (1 + s m(n)) + 2 (n - 1) latency + 2 (n - 1) / n bytes / bandwidth`` (ring
all-reduce, nothing overlapped), with m(n) the expected slowest of n workers whose step times vary by s, as measured.
Latency and bandwidth come from all-reduces of several sizes. For GPUs ``--gpu-step``, ``--gpu-latency`` and
``--gpu-bandwidth`` take their places. docs/scaling.md says what the model leaves out, and how far it is off where it
can be tried.

Examples:
    python benchmarks/scaling.py search_spaces/cifar10_16px_cae.yaml --workers 1 2 --json scaling.json
    python benchmarks/scaling.py search_spaces/cifar10_16px_cae.yaml --workers 1 2 --seconds 10
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import config_benchmark
import network_passes
import torch
import torch.distributed as dist
from scipy import integrate, stats
from throughput import short_epochs, untrained_teacher

from dfkd.assembly import build_distillation, choose_device
from dfkd.cluster.parallel_session import ParallelSession
from dfkd.distillation import distill, student_step
from dfkd.search.experiment_file import load_experiment
from dfkd.settings.experiment import ExperimentSettings

MODES = ("weak", "strong")
SIZES = (1_000, 10_000, 100_000, 1_000_000)  # float32 numbers of an all-reduce
GPUS = (8, 16, 32, 64, 128, 256, 512)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    config_benchmark.add_arguments(parser)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="counts to measure; 1 always is")
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--share", type=float, default=0.1, help="of an epoch's rounds and steps, for short runs")
    parser.add_argument("--gpu-step", type=float, default=0.02, help="seconds of a student step on one GPU")
    parser.add_argument("--gpu-latency", type=float, default=2e-5, help="seconds of one hop")
    parser.add_argument("--gpu-bandwidth", type=float, default=1e10, help="bytes a second between nodes")
    parser.add_argument("--worker", metavar="FILE", help=argparse.SUPPRESS)  # what one of the processes is to do
    return parser.parse_args()


def settings_of(arguments: argparse.Namespace, workers: int, mode: str) -> ExperimentSettings:
    """Return the config with short epochs, and the global batches of this mode."""
    settings, _ = load_experiment(arguments.config, arguments.set)
    settings = short_epochs(settings, arguments.share)
    if mode == "weak":
        synthesis, distillation = settings.synthesis, settings.distillation
        larger = dataclasses.replace(distillation, batch_size=workers * distillation.batch_size)
        if hasattr(synthesis, "batch_size"):
            synthesis = dataclasses.replace(synthesis, batch_size=workers * synthesis.batch_size)
        settings = dataclasses.replace(settings, synthesis=synthesis, distillation=larger)
    return dataclasses.replace(settings, workers=workers)


def work(arguments: argparse.Namespace) -> None:
    """Be one worker: run for some seconds and write what an epoch and a step took."""
    task = json.loads(Path(arguments.worker).read_text())
    rank, world, talks, folder = task["rank"], task["world"], task["talks"], Path(task["folder"])
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    settings = settings_of(arguments, world, task["mode"])
    device, shape = choose_device(settings), config_benchmark.shape_of(settings, arguments.image_shape)
    parallel: dict[str, Any] = {"rank": rank, "world_size": world}
    if talks and world > 1:
        session = ParallelSession(device, lambda report: None, store=None)  # type: ignore[arg-type]
        parallel |= {"wrap": session.wrap, "gather": session.gather}
    torch.manual_seed(0)
    run = build_distillation(settings, untrained_teacher(settings, shape, device), device=device, **parallel)
    epochs: list[dict[str, float]] = []
    deadline = time.perf_counter() + task["seconds"]
    for report in distill(run):
        over = torch.tensor(float(time.perf_counter() > deadline and len(epochs) >= 3))
        dist.all_reduce(over, op=dist.ReduceOp.MAX)  # all end with the same epoch
        if report.epoch > run.synthesizer.warm_up_epochs:
            epochs.append(report.seconds)
        if over:
            break
    steps = []
    for _ in range(20):
        began = time.perf_counter()
        student_step(run)
        steps.append(time.perf_counter() - began)
    facts: dict[str, Any] = {
        part: statistics.median(epoch[part] for epoch in epochs) for part in ("synthesis", "distillation")
    }
    facts |= {"steps": steps, "gradient_bytes": sum(p.numel() * 4 for p in run.network.parameters())}
    facts["all_reduce"] = all_reduces() if talks and world > 1 else {}
    (folder / f"{rank}.json").write_text(json.dumps(facts))
    dist.barrier()
    dist.destroy_process_group()


def all_reduces() -> dict[int, float]:
    """Return the median seconds of an all-reduce by its bytes."""
    taken = {}
    for size in SIZES:
        numbers, times = torch.zeros(size), []
        for _ in range(30):
            dist.barrier()
            began = time.perf_counter()
            dist.all_reduce(numbers)
            times.append(time.perf_counter() - began)
        taken[4 * size] = statistics.median(times)
    return taken


def measure(arguments: argparse.Namespace, workers: int, mode: str, *, talks: bool, seconds: float) -> dict[str, Any]:
    """Start workers and return rank 0's facts; the slowest worker's seconds count."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
        started = []
        for rank in range(workers):
            task = {"rank": rank, "world": workers, "mode": mode, "talks": talks, "seconds": seconds, "folder": folder}
            file = Path(folder, f"task-{rank}.json")
            file.write_text(json.dumps(task))
            command = [sys.executable, *sys.argv, "--worker", str(file)]
            started.append(subprocess.Popen(command, env=environment))
        if any([worker.wait() for worker in started]):
            raise SystemExit("a worker failed; its error stands above")
        found = [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(workers)]
    facts: dict[str, Any] = found[0]
    facts |= {part: max(each[part] for each in found) for part in ("synthesis", "distillation")}
    return facts


def images_per_second(settings: ExperimentSettings, facts: dict[str, Any]) -> dict[str, float]:
    """Return the global throughput of both parts of an epoch."""
    made = network_passes.generator_steps_of(settings) * getattr(settings.synthesis, "batch_size", 0)
    return {
        "synthesis": made / facts["synthesis"],
        "distillation": network_passes.steps_of(settings) * settings.distillation.batch_size / facts["distillation"],
    }


def fit(all_reduce: dict[str, float], workers: int) -> dict[str, float]:
    """Fit latency (seconds a hop) and bandwidth (bytes a second) of a ring to all-reduces, by least squares."""
    rows = torch.tensor(
        [[2.0 * (workers - 1), 2 * (workers - 1) / workers * float(size)] for size in all_reduce], dtype=torch.float64
    )
    seconds = torch.tensor(list(all_reduce.values()), dtype=torch.float64)
    weights = 1 / seconds  # relative errors count: small messages are as many as large ones
    latency, per_byte = torch.linalg.lstsq(rows * weights[:, None], (seconds * weights)[:, None]).solution.flatten()
    return {"latency": max(float(latency), 0.0), "bandwidth": 1 / max(float(per_byte), 1e-15)}


def predicted_step(
    compute: float, gradient_bytes: float, workers: int, *, latency: float, bandwidth: float, spread: float
) -> float:
    """Return the seconds of a step over some workers, as the module's docstring says.

    ``spread`` is the standard deviation of a worker's step time over its mean, and the steps are taken for normal.
    """
    slowest = compute * (1 + spread * expected_maximum(workers))
    return slowest + 2 * (workers - 1) * latency + 2 * (workers - 1) / workers * gradient_bytes / bandwidth


def expected_maximum(n: int) -> float:
    """Return how many standard deviations the largest of n normal draws lies above their mean, expected."""

    def weighted(x: float) -> float:
        return x * n * float(stats.norm.pdf(x)) * float(stats.norm.cdf(x)) ** (n - 1)

    return float(integrate.quad(weighted, -10, 10)[0])


def main() -> None:
    arguments = parse_arguments()
    if arguments.worker:
        work(arguments)
        return
    counts = sorted({1, *arguments.workers})
    share = arguments.seconds / (1 + 4 * (len(counts) - 1))
    alone = measure(arguments, 1, "strong", talks=False, seconds=share)
    base = images_per_second(settings_of(arguments, 1, "strong"), alone)
    step = statistics.median(alone["steps"])
    spread = statistics.stdev(alone["steps"]) / statistics.mean(alone["steps"])
    rows: list[dict[str, Any]] = [{"workers": 1, "images_per_second": base, "step_seconds": step, "spread": spread}]
    for workers in counts[1:]:
        for mode in MODES:
            settings = settings_of(arguments, workers, mode)
            talking = measure(arguments, workers, mode, talks=True, seconds=share)
            silent = measure(arguments, workers, mode, talks=False, seconds=share)
            speed, possible = images_per_second(settings, talking), images_per_second(settings, silent)
            silently = {part: possible[part] / (workers * base[part]) for part in base}
            network = fit(talking["all_reduce"], workers)
            taken, own = statistics.median(talking["steps"]), statistics.median(silent["steps"])
            model = predicted_step(own, talking["gradient_bytes"], workers, **network, spread=spread)
            rows.append(
                {
                    "workers": workers,
                    "mode": mode,
                    "images_per_second": speed,
                    "efficiency": {part: speed[part] / (workers * base[part]) for part in base},
                    "efficiency_without_communication": silently,
                    "share_of_communication": {part: 1 - speed[part] / possible[part] for part in base},
                    "gradient_bytes": talking["gradient_bytes"],
                    "all_reduce_seconds": talking["all_reduce"],
                    "network": network,
                    "step_seconds": taken,
                    "model_step_seconds": model,
                    "model_error": model / taken - 1,
                }
            )
    gpu = {"latency": arguments.gpu_latency, "bandwidth": arguments.gpu_bandwidth, "spread": spread}
    steps = {n: predicted_step(arguments.gpu_step, alone["gradient_bytes"], n, **gpu) for n in GPUS}
    facts = {
        "measured": rows,
        "assumed_of_gpus": gpu | {"step_seconds": arguments.gpu_step, "gradient_bytes": alone["gradient_bytes"]},
        "predicted_weak_efficiency": {n: arguments.gpu_step / seconds for n, seconds in steps.items()},
        "threads_of_a_worker": arguments.threads,
    }
    config_benchmark.write(facts | config_benchmark.surroundings(torch.device("cpu")), arguments.json)


if __name__ == "__main__":
    main()

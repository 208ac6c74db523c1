"""What Ray, Tune, MLflow and a checkpoint every epoch cost an epoch, over the bare ``distill()`` loop.

The bare loop and a search of one trial run the same settings in turn, each in a process of its own with one thread.
Compared is the time from the end of the first epoch to the end of the last, evaluation included on both sides. A trial
with one worker runs in a process of Ray's own, without Ray Train, and so it does here.

Whole epochs of two runs differ by several percent on a machine that others use too. What an epoch takes beyond its
steps (evaluation on both sides, checkpoint, preview and report on the platform) is short, and told within a run: its
difference is the platform's own cost, but for what runs beside the trial on other cores.

Example:
    python benchmarks/platform_overhead.py search_spaces/cifar10_16px_cae.yaml --set dataset.path=/data/cifar10 \
        --epochs 6 --repeats 2 --json benchmarks/results/platform_overhead.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dfkd.comparison.statistics import ratio_interval

ROOT = Path(__file__).resolve().parent.parent
#: Of each epoch: when its steps ended, in seconds since the run's start, and how long they took.
Epochs = list[tuple[float, float]]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", help="a file of search_spaces/")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--epochs", type=int, default=6, help="epochs of each run, warm-up included")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--home", help="keeps the teacher between calls (default: a temporary folder)")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    from dfkd.jobs.environment import commit, versions

    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(arguments.home or folder)
        if arguments.bare:
            print(json.dumps(bare_epochs(arguments, home)))
            return
        overrides = [option for value in short_run(arguments) for option in ("--set", value)]
        bare: list[Epochs] = []
        platform: list[Epochs] = []
        sides = [
            (platform, lambda: platform_epochs(arguments, home, overrides)),
            (bare, lambda: bare_epochs_elsewhere(arguments, home, overrides)),
        ]
        for repeat in range(arguments.repeats):
            for epochs, run in sides if repeat % 2 == 0 else reversed(sides):  # a machine that slows down favours none
                epochs.append(run())
            longer = per_epoch(platform[-1]) / per_epoch(bare[-1]) - 1
            print(f"pair {repeat + 1}/{arguments.repeats}: {longer:+.1%}", file=sys.stderr)
    bare_seconds, platform_seconds = [per_epoch(one) for one in bare], [per_epoch(one) for one in platform]
    beyond = {"bare": beyond_steps(bare), "platform": beyond_steps(platform)}
    facts = {
        "space": arguments.space,
        "settings": [one for one in arguments.set if "/" not in one],  # places of this machine are nobody's business
        "epochs": arguments.epochs,
        "bare_seconds_per_epoch": bare_seconds,
        "platform_seconds_per_epoch": platform_seconds,
        "overhead": statistics.median(platform_seconds) / statistics.median(bare_seconds) - 1,
        "overhead_of_pairs": overhead_of_pairs(platform_seconds, bare_seconds),
        "seconds_beyond_steps": beyond,
        "own_cost_seconds": beyond["platform"] - beyond["bare"],
        "own_cost": (beyond["platform"] - beyond["bare"]) / statistics.median(bare_seconds),
        "cpu_count": os.cpu_count(),
        "commit": commit(),
        "versions": versions(),
    }
    print(json.dumps(facts, indent=1))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(facts, indent=1) + "\n")


def overhead_of_pairs(platform: list[float], bare: list[float]) -> list[float] | None:
    """Return the overhead of runs made one after the other: geometric mean of pairs, and ends of its 95 % interval.

    Pairs share what the machine does at their time. None for fewer than two.
    """
    if len(platform) < 2:
        return None
    return [ratio - 1 for ratio in ratio_interval(bare, platform)]


def short_run(arguments: argparse.Namespace) -> list[str]:
    """Return the overrides of a run of few epochs, one of them warm-up, each with a checkpoint."""
    schedule = [f"distillation.epochs={arguments.epochs - 1}", "synthesis.warm_up_epochs=1"]
    return [*arguments.set, *schedule, "distillation.checkpoint_every=1"]


def one_thread() -> dict[str, str]:
    """Return the environment in which a process computes as a Ray worker of one CPU does."""
    return os.environ | {"OMP_NUM_THREADS": "1"}


def per_epoch(epochs: Epochs) -> float:
    """Return seconds an epoch after the first."""
    (first, _), *_, (last, _) = epochs
    return (last - first) / (len(epochs) - 1)


def beyond_steps(runs: list[Epochs]) -> float:
    """Return the median of the seconds that epochs after the second take beyond their steps.

    What follows the first epoch is told with the second: evaluation then allocates and compiles.
    """
    seconds = []
    for epochs in runs:
        seconds += [end - before - steps for (before, _), (end, steps) in zip(epochs[1:], epochs[2:], strict=False)]
    return statistics.median(seconds)


def bare_epochs(arguments: argparse.Namespace, home: Path) -> Epochs:
    """Run the bare loop and return its epochs."""
    from dfkd.assembly import Materials, StudentEvaluation, build_distillation, choose_device
    from dfkd.cluster.memory import keep_freed_memory
    from dfkd.data import load_dataset
    from dfkd.distillation import distill
    from dfkd.jobs.console import Console
    from dfkd.jobs.probe_cache import obtain_probe_set
    from dfkd.jobs.teacher import obtain_teacher
    from dfkd.search.load import load_space
    from dfkd.tracking.home import default_tracking_uri

    keep_freed_memory()  # as a worker does
    space = load_space(arguments.space, arguments.set)
    settings = space.resolve({})
    data = load_dataset(settings.dataset)
    teacher = obtain_teacher(
        settings,
        data,
        home=home,
        tracking_uri=default_tracking_uri(home),
        console=Console(sys.stderr),
    )
    materials = Materials(teacher=teacher, probe=obtain_probe_set(teacher, home), validation=data.validation)
    run = build_distillation(settings, teacher, device=choose_device(settings))
    evaluate = StudentEvaluation(run, settings, materials)
    began = started = time.monotonic()
    epochs = []
    for _ in distill(run):
        now = time.monotonic()
        epochs.append((now - began, now - started))
        evaluate()
        started = time.monotonic()
    return epochs


def bare_epochs_elsewhere(arguments: argparse.Namespace, home: Path, overrides: list[str]) -> Epochs:
    """Run the bare loop in a process of its own, as the platform runs a trial."""
    command = [sys.executable, __file__, arguments.space, "--bare", "--home", str(home), *overrides]
    finished = subprocess.run(command, env=one_thread(), check=True, stdout=subprocess.PIPE, text=True)
    return [(end, steps) for end, steps in json.loads(finished.stdout.splitlines()[-1])]


def platform_epochs(arguments: argparse.Namespace, home: Path, overrides: list[str]) -> Epochs:
    """Run a search of one trial and return its epochs."""
    from mlflow import MlflowClient

    from dfkd.config import read_yaml
    from dfkd.tracking.home import default_tracking_uri

    # One trial and nothing beside it: what runs with it on the same cores would count as overhead.
    alone = {"trials": 1, "workers_check": False, "seed_repeats": 0, "early_stopping": None, "noise_floor": False}
    raw = read_yaml(arguments.space) | alone
    file = home / "overhead.yaml"
    file.write_text(json.dumps(raw))  # JSON is YAML
    outcome = home / "overhead.json"
    command = [sys.executable, str(ROOT / "experiments" / "search.py"), str(file), "--home", str(home), "--json"]
    subprocess.run([*command, str(outcome), *overrides], env=one_thread(), check=True, stdout=sys.stderr)
    facts = json.loads(outcome.read_text())
    client = MlflowClient(default_tracking_uri(home))
    experiment = client.get_experiment_by_name(raw["name"])
    found = client.search_runs([experiment.experiment_id], f"tags.`dfkd.search_id` = '{facts['search_id']}'")
    trial = next(run for run in found if run.data.tags.get("dfkd.kind") == "trial")
    ends, steps = (
        [point.value for point in sorted(client.get_metric_history(trial.info.run_id, name), key=lambda it: it.step)]
        for name in ("time/elapsed_seconds", "time/epoch_seconds")
    )
    return list(zip(ends, steps, strict=True))


if __name__ == "__main__":
    main()

"""How fast a config runs on this device, and how near that is to the floor of its bare network passes.

One process measures both, in turn, so that the ratio does not depend on the machine; the repeats' median counts. The
run is the real one, on an untrained teacher and without real images: speed depends on neither. Parts are timed from
outside, by wrapping what a run calls; ``backward`` is the whole of autograd, ``losses`` what is left of a step. On a
GPU the parts are of the host's clock after a synchronisation each, so they are measured in epochs of their own and only
the two totals are compared.

Examples:
    python benchmarks/throughput.py search_spaces/cifar10_16px_cae.yaml --json throughput.json
    python benchmarks/throughput.py search_spaces/cifar10_cae.yaml --set schedule=cpu_small --no-compile --seconds 60
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import config_benchmark
import floor
import network_passes
import pass_timing
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from dfkd import distillation
from dfkd.assembly import build_distillation, choose_device
from dfkd.cluster.memory import keep_freed_memory
from dfkd.distillation import Distillation, EpochReport, Means, distill
from dfkd.search.experiment_file import load_experiment
from dfkd.settings.experiment import ExperimentSettings, LabelEmbeddingSettings
from dfkd.settings.synthesis import RoundsSettings
from dfkd.synthesis import banked
from dfkd.teachers import Teacher

PARTS = ("noise", "generator", "augmentation", "teacher", "student", "optimiser", "bank", "logging", "backward")
SHARES = ("synthesis", "distillation")
MIN_EPOCHS = 3


def short_epochs(settings: ExperimentSettings, share: float) -> ExperimentSettings:
    """Return the config with epochs of a share of their steps, synthesis and distillation alike, and endless."""
    synthesis, steps = settings.synthesis, max(1, round(settings.distillation.steps_per_epoch * share))
    if isinstance(synthesis, RoundsSettings):
        rounds = max(1, round(synthesis.rounds_per_epoch * share))
        changes: dict[str, Any] = {"rounds_per_epoch": rounds}
        changes |= {"warm_up_epochs": 1, "warm_up_rounds": 1}
        steps = max(1, round(settings.distillation.steps_per_epoch * rounds / synthesis.rounds_per_epoch))
        synthesis = dataclasses.replace(synthesis, **changes)
    longer = dataclasses.replace(settings.distillation, steps_per_epoch=steps, epochs=10_000)
    return dataclasses.replace(
        settings,
        synthesis=synthesis,
        distillation=longer,
        label_embeddings=LabelEmbeddingSettings(name="orthogonal", width=network_passes.LATENT_WIDTH),
    )


def untrained_teacher(settings: ExperimentSettings, shape: tuple[int, int, int], device: torch.device) -> Teacher:
    """Return a teacher whose BatchNorm has statistics of its own; its weights do not change its speed."""
    model, _ = network_passes.networks(settings, shape, device)
    with torch.no_grad():
        model.train()(torch.randn(64, *shape, device=device))
    classes = tuple(map(str, range(len(settings.dataset.class_names or ()) or 10)))
    return Teacher(
        model=model.eval().cpu(),
        architecture=settings.teacher.architecture or "untrained",
        class_names=classes,
        image_shape=shape,
        mean=(0.5,) * shape[0],
        std=(0.25,) * shape[0],
        provenance="untrained",
    )


def warmed_up(run: Distillation) -> Iterator[EpochReport]:
    """Return the epochs of a run from the second one after its warm-up on."""
    return itertools.dropwhile(lambda report: report.epoch <= run.synthesizer.warm_up_epochs, distill(run))


def measure_epochs(epochs: Iterator[EpochReport], *, seconds: float) -> dict[str, float]:
    """Let a run go on for about so long; return the median seconds an epoch of synthesis and of distillation."""
    taken: list[dict[str, float]] = []
    deadline = time.perf_counter() + seconds
    while len(taken) < MIN_EPOCHS or time.perf_counter() < deadline:
        taken.append(next(epochs).seconds)
    return {part: statistics.median(each[part] for each in taken) for part in SHARES}


def measure_parts(run: Distillation, epochs: Iterator[EpochReport], *, count: int = 2) -> dict[str, float]:
    """Let a run go on for some epochs; return each part's share of their seconds."""
    seconds = dict.fromkeys(PARTS, 0.0)
    began = time.perf_counter()
    with timed_parts(run, seconds):
        for _ in range(count):
            next(epochs)
    total = time.perf_counter() - began
    shares = {part: taken / total for part, taken in seconds.items()}
    return shares | {"losses": 1 - sum(shares.values())}


class Parts:
    """Adds up the time of calls by part; of parts within parts, all of it counts for the outermost."""

    def __init__(self, run: Distillation, seconds: dict[str, float]) -> None:
        self._run, self._seconds, self._running = run, seconds, ""

    def begin(self, name: str) -> float | None:
        """Return the moment, or None within another part."""
        if self._running:
            return None
        self._running = name
        return now(self._run)

    def end(self, began: float | None) -> None:
        """Count what passed since ``began``."""
        if began is not None:
            self._seconds[self._running] += now(self._run) - began
            self._running = ""

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a call that is counted."""

        def wrapped(*arguments: Any, **named: Any) -> Any:
            began = self.begin(name)
            try:
                return call(*arguments, **named)
            finally:
                self.end(began)

        return wrapped


@contextmanager
def timed_parts(run: Distillation, seconds: dict[str, float]) -> Iterator[None]:
    """Add the time of every call of a part to ``seconds``."""
    parts, method, student = Parts(run, seconds), run.synthesizer, run.pair.student
    named: list[tuple[str, Any, str]] = [("teacher", run.pair.teacher, "forward"), ("student", student, "forward")]
    named += [("teacher", run.folded_teacher, "forward"), ("student", run.parallel_network, "forward")]
    named += [(name, getattr(method, name), "forward") for name in ("noise", "generator") if hasattr(method, name)]
    named += [("augmentation", module, "augment") for module in (distillation, banked)]
    named += [("backward", Tensor, "backward"), ("logging", Means, "add"), ("logging", Means, "to_floats")]
    if hasattr(method, "bank"):
        named += [("bank", method.bank, call) for call in ("add", "sample", "sample_balanced")]
    originals = [(owner, call, getattr(owner, call)) for _, owner, call in named]
    for (name, owner, call), (_, _, original) in zip(named, originals, strict=True):
        setattr(owner, call, parts.timed(name, original))
    steps: list[float | None] = []
    before = register_optimizer_step_pre_hook(lambda *_: steps.append(parts.begin("optimiser")))
    after = register_optimizer_step_post_hook(lambda *_: parts.end(steps.pop()))
    try:
        yield
    finally:
        for owner, call, original in originals:
            setattr(owner, call, original)
        before.remove()
        after.remove()


def now(run: Distillation) -> float:
    """Return the clock once the device has nothing left to do."""
    if run.pair.device.type != "cpu":
        torch.accelerator.synchronize(run.pair.device)
    return time.perf_counter()


def peak_memory(device: torch.device) -> float:
    """Return megabytes: of the device, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    config_benchmark.add_arguments(parser)
    parser.add_argument("--share", type=float, default=0.5, help="of an epoch's rounds and steps, for short runs")
    parser.add_argument("--repeats", type=int, default=3, help="how often floor and run are measured, in turn")
    arguments = parser.parse_args()
    if arguments.bf16:
        parser.error("--bf16: runs compute in float32, so only floor.py takes it")
    keep_freed_memory()  # as every worker does; the floor gains from it too
    settings, _ = load_experiment(arguments.config, arguments.set)
    device, shape = choose_device(settings), config_benchmark.shape_of(settings, arguments.image_shape)
    small = short_epochs(settings, arguments.share)
    teacher = untrained_teacher(settings, shape, device)
    run = build_distillation(small, teacher, device=device)
    epochs, share = warmed_up(run), arguments.seconds / (2 * arguments.repeats + 1)
    measure_epochs(epochs, seconds=share)
    peak = peak_memory(device)  # before the floor takes memory of its own
    bare_passes, limits = floor.Floor(small, shape, compiled=not arguments.no_compile), pass_timing.ceilings(device)
    shares: dict[str, list[float]] = {part: [] for part in SHARES}
    seconds: dict[str, list[float]] = {part: [] for part in SHARES}
    for _ in range(arguments.repeats):
        bare = floor.summary(bare_passes.measure(seconds=share), limits)
        for part, value in measure_epochs(epochs, seconds=share).items():
            shares[part].append(bare[f"{part}_floor_seconds_per_epoch"] / value)
            seconds[part].append(value)
    parts = measure_parts(run, epochs)
    taken = {part: statistics.median(values) for part, values in seconds.items()}
    steps, generator_steps = network_passes.steps_of(small), network_passes.generator_steps_of(small)
    facts = {
        "distillation_share_of_floor": statistics.median(shares["distillation"]),
        "synthesis_share_of_floor": statistics.median(shares["synthesis"]),
        "shares_of_floor_by_repeat": shares,
        "distillation_images_per_second": steps * settings.distillation.batch_size / taken["distillation"],
        "synthesis_images_per_second": generator_steps
        * getattr(settings.synthesis, "batch_size", 0)
        / taken["synthesis"],
        "seconds_per_epoch": taken,
        "share_of_time": parts,
        "seconds_per_epoch_by_repeat": seconds,
        "peak_megabytes": peak,
        "image_shape": shape,
        "floor": bare,  # of the last repeat
    }
    config_benchmark.write(facts | config_benchmark.surroundings(device), arguments.json)


if __name__ == "__main__":
    main()

"""What the bare network passes of a config cost on this device: no run of it can be faster.

Timed on resident random data, at the run's batch sizes and layout: the teacher's forward pass (with BatchNorm folded
away, as in a run), the student's forward and backward pass, and the passes of a generator step. Each is run eager,
compiled and, on CUDA, replayed as a graph; the fastest counts. Optimisers, augmentation, losses, the image bank and
logging are cost above the floor.

Examples:
    python benchmarks/floor.py search_spaces/cifar10_16px_cae.yaml --set dataset.path=/data/cifar10
    python benchmarks/floor.py search_spaces/cifar10_cae.yaml --no-compile --seconds 20 --json floor.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dfkd.assembly import build_student, choose_device
from dfkd.comparison.meters import FlopCounter
from dfkd.folding import fold_batch_norm
from dfkd.generators import build_generator
from dfkd.jobs.environment import commit, versions
from dfkd.search.experiment_file import load_experiment
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.synthesis.method import OnlineSettings
from dfkd.teachers import Teacher, build_network

CEILING_SIZE = 2048  # rows of the square matrices whose product is timed
CEILING_BYTES = 2**28  # that are copied
LATENT_WIDTH = 384  # of the packaged label embeddings; the first layer is a small part of a generator


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """One kind of pass: how often an epoch needs it, and what it takes.

    Attributes:
        seconds: of the fastest way, the median of its runs.
        spread: half of the distance between the quartiles, as a share of the median.
        way: ``eager``, ``compiled`` or ``graph``.
        flops: floating-point operations of its matrix products and convolutions.
        bytes: that its operations read and write, run one by one.
        per_epoch: how often an epoch after warm-up needs it.
    """

    seconds: float
    spread: float
    way: str
    flops: float
    bytes: float
    per_epoch: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every benchmark of one config takes."""
    parser.add_argument("config", help="a search space, or its `experiment` part in a file of its own")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override a setting")
    parser.add_argument(
        "--image-shape",
        type=int,
        nargs=3,
        default=(3, 32, 32),
        metavar=("C", "H", "W"),
        help="where the config does not say it",
    )
    parser.add_argument("--json", metavar="FILE", help="write the numbers here")
    parser.add_argument("--seconds", type=float, default=60.0, help="roughly how long to measure")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, which takes minutes")
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16, as a run on a GPU may")


def shape_of(settings: ExperimentSettings, otherwise: Sequence[int]) -> tuple[int, int, int]:
    """Return (C, H, W) of the config's images, which need not be there."""
    channels, height, width = otherwise
    size = settings.dataset.image_size
    return settings.dataset.channels or channels, size or height, size or width


class Floor:
    """The passes of a config on random images, ready to be timed as often as one likes: compiled once.

    Args:
        settings: the config.
        shape: (C, H, W) of its images.
        compiled: whether to try ``torch.compile`` too.
        bf16: whether to autocast.
    """

    def __init__(
        self, settings: ExperimentSettings, shape: tuple[int, int, int], *, compiled: bool = True, bf16: bool = False
    ) -> None:
        self._device = choose_device(settings)
        calls = make_passes(settings, shape, self._device, bf16=bf16)
        steps = steps_of(settings)
        self._counts = {"teacher": steps, "student": steps, "synthesis": generator_steps_of(settings)}
        self._costs = {name: (flops_of(call), bytes_of(call)) for name, call in calls.items()}
        self._ways = {name: ways_of(call, self._device, compiled=compiled) for name, call in calls.items()}

    def measure(self, *, seconds: float) -> dict[str, Pass]:
        """Time every way of running each pass, for about so long in all; the fastest way counts."""
        return {name: self._fastest(name, seconds=seconds / len(self._ways)) for name in self._ways}

    def _fastest(self, name: str, *, seconds: float) -> Pass:
        ways, (flops, num_bytes) = self._ways[name], self._costs[name]
        timed = {way: time_calls(call, self._device, seconds=seconds / len(ways)) for way, call in ways.items()}
        best = min(timed, key=lambda way: timed[way][0])
        median, spread = timed[best]
        return Pass(seconds=median, spread=spread, way=best, flops=flops, bytes=num_bytes, per_epoch=self._counts[name])


def make_passes(
    settings: ExperimentSettings, shape: tuple[int, int, int], device: torch.device, *, bf16: bool
) -> dict[str, Callable[[], Tensor]]:
    """Return the passes of a student step and of a generator step as calls without arguments."""
    teacher, student = networks(settings, shape, device)
    folded = fold_batch_norm(teacher, shape)  # which answers the student; synthesis needs the BatchNorm layers
    batch, synthesis_batch = settings.distillation.batch_size, getattr(settings.synthesis, "batch_size", 0)
    images = on_device(torch.randn(batch, *shape), device)

    def precision() -> AbstractContextManager[Any]:
        return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()

    def teacher_pass() -> Tensor:
        with torch.no_grad(), precision():
            return folded(images)

    def student_pass() -> Tensor:
        student.train().requires_grad_(True).zero_grad(set_to_none=True)
        with precision():
            logits = student(images)
        logits.sum().backward()
        return logits

    passes: dict[str, Callable[[], Tensor]] = {"teacher": teacher_pass, "student": student_pass}
    if not hasattr(settings.synthesis, "generator"):
        return passes
    generator = build_generator(settings.synthesis.generator, latent_width=LATENT_WIDTH, image_shape=shape)
    generator = generator.to(device, memory_format=torch.channels_last)
    latents = torch.randn(synthesis_batch, LATENT_WIDTH, device=device)

    def synthesis_pass() -> Tensor:
        student.eval().requires_grad_(False)
        generator.zero_grad(set_to_none=True)
        with precision():
            made = generator(latents)
            loss = teacher(made).sum() + student(made).sum()
        loss.backward()
        return loss

    return passes | {"synthesis": synthesis_pass}


def networks(
    settings: ExperimentSettings, shape: tuple[int, int, int], device: torch.device
) -> tuple[nn.Module, nn.Module]:
    """Return an untrained teacher, frozen, and a student; what weights they have does not change their speed."""
    num_classes = len(settings.dataset.class_names or ()) or 10
    architecture = settings.teacher.architecture or architecture_in(settings.teacher.weights)
    teacher = build_network(architecture, num_classes=num_classes, in_channels=shape[0])
    named = Teacher(
        model=teacher,
        architecture=architecture,
        class_names=tuple(map(str, range(num_classes))),
        image_shape=shape,
        mean=(0.5,) * shape[0],
        std=(0.25,) * shape[0],
        provenance="untrained",
    )
    student = build_student(settings, named)
    for network in (teacher, student):
        network.to(device, memory_format=torch.channels_last)
    return teacher.eval().requires_grad_(False), student


def architecture_in(weights: str | None) -> str:
    """Return the architecture that a teacher's safetensors file names.

    Raises:
        ValueError: it names none, or is not there.
    """
    if weights is not None and weights.endswith(".safetensors") and Path(weights).exists():
        with safe_open(weights, framework="pt") as file:
            if (named := (file.metadata() or {}).get("architecture")) is not None:
                return str(named)
    raise ValueError(f"teacher.architecture: '{weights}' names none here; give it with --set teacher.architecture=...")


def on_device(images: Tensor, device: torch.device) -> Tensor:
    """Return images in the layout of a run."""
    return images.to(device).contiguous(memory_format=torch.channels_last)


def steps_of(settings: ExperimentSettings) -> int:
    """Return the student steps of an epoch."""
    return settings.distillation.steps_per_epoch


def generator_steps_of(settings: ExperimentSettings) -> int:
    """Return the generator steps of an epoch after warm-up."""
    synthesis = settings.synthesis
    if isinstance(synthesis, OnlineSettings):  # a turn of generator steps for so many student steps
        return synthesis.generator_steps * -(-steps_of(settings) // synthesis.student_steps)  # as `Online.rounds`
    return int(getattr(synthesis, "rounds_per_epoch", 1) * getattr(synthesis, "generator_steps", 0))


def ways_of(call: Callable[[], Tensor], device: torch.device, *, compiled: bool) -> dict[str, Callable[[], object]]:
    """Return the ways of running a pass, by name."""
    ways: dict[str, Callable[[], object]] = {"eager": call}
    if compiled:
        ways["compiled"] = torch.compile(call)
    if device.type == "cuda":
        ways["graph"] = captured(call)
    return ways


def captured(call: Callable[[], Tensor]) -> Callable[[], None]:
    """Return a pass as a CUDA graph, which launches all of its kernels at once."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def time_calls(call: Callable[[], object], device: torch.device, *, seconds: float) -> tuple[float, float]:
    """Return the median seconds of a call and the half distance of its quartiles as a share of it."""
    for _ in range(3):
        call()
    taken: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(taken) < 5 or time.perf_counter() < deadline:
        began = time.perf_counter()
        call()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        taken.append(time.perf_counter() - began)
    low, median, high = statistics.quantiles(taken, n=4)
    return median, (high - low) / 2 / median


def flops_of(call: Callable[[], object]) -> float:
    """Return the floating-point operations of a call's matrix products and convolutions."""
    counter = FlopCounter()
    with counter:
        call()
    return float(counter.flops)


class _ByteCounter(TorchDispatchMode):
    """Adds up the bytes of what each operation reads and writes; views cost nothing."""

    total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [leaf for leaf in torch.utils._pytree.tree_leaves((args, kwargs, result))]
            self.total += sum(leaf.nbytes for leaf in tensors if isinstance(leaf, Tensor))
        return result


def bytes_of(call: Callable[[], object]) -> float:
    """Return the bytes that a call's operations read and write, none of them fused."""
    counter = _ByteCounter()
    with counter:
        call()
    return counter.total


def ceilings(device: torch.device) -> dict[str, float]:
    """Return what this device reaches at best: operations a second of a product, bytes a second of a copy."""
    square = torch.randn(CEILING_SIZE, CEILING_SIZE, device=device)
    product = time_calls(lambda: square @ square, device, seconds=2.0)[0]
    source = torch.empty(CEILING_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = time_calls(lambda: target.copy_(source), device, seconds=2.0)[0]
    return {"flops_per_second": 2 * CEILING_SIZE**3 / product, "bytes_per_second": 2 * CEILING_BYTES / copy}


def summary(passes: Mapping[str, Pass], limits: Mapping[str, float]) -> dict[str, Any]:
    """Return the floor of an epoch, and each pass with its rates as shares of the ceilings."""
    rows = {
        name: {
            "way": each.way,
            "milliseconds": 1000 * each.seconds,
            "spread": each.spread,
            "gflop": each.flops / 1e9,
            "megabytes": each.bytes / 1e6,
            "share_of_product_ceiling": each.flops / each.seconds / limits["flops_per_second"],
            "share_of_copy_ceiling": each.bytes / each.seconds / limits["bytes_per_second"],
            "per_epoch": each.per_epoch,
        }
        for name, each in passes.items()
    }
    seconds = {name: each.seconds * each.per_epoch for name, each in passes.items()}
    return {
        "passes": rows,
        "ceilings": dict(limits),
        "distillation_floor_seconds_per_epoch": seconds["teacher"] + seconds["student"],
        "synthesis_floor_seconds_per_epoch": seconds.get("synthesis", 0.0),
    }


def surroundings(device: torch.device) -> dict[str, Any]:
    """Return what numbers of speed mean nothing without."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "cpu_count": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "commit": commit(),
        "versions": versions(),
    }


def write(facts: Mapping[str, Any], file: str | None) -> None:
    """Print the numbers, and keep them in a file if one is named."""
    text = json.dumps(facts, indent=1)
    print(text)
    if file:
        Path(file).write_text(text + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    arguments = parser.parse_args()
    settings, _ = load_experiment(arguments.config, arguments.set)
    device = choose_device(settings)
    limits = ceilings(device)
    shape = shape_of(settings, arguments.image_shape)
    passes = Floor(settings, shape, compiled=not arguments.no_compile, bf16=arguments.bf16).measure(
        seconds=arguments.seconds
    )
    batches = {"student": settings.distillation.batch_size, "synthesis": getattr(settings.synthesis, "batch_size", 0)}
    asked = {"image_shape": shape, "batch_sizes": batches}
    write(summary(passes, limits) | asked | surroundings(device), arguments.json)


if __name__ == "__main__":
    main()

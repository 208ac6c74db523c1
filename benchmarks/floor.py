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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import config_benchmark
from network_passes import generator_steps_of, make_passes, steps_of
from pass_costs import bytes_of, flops_of
from pass_timing import ceilings, time_calls, ways_of

from dfkd.assembly import choose_device
from dfkd.search.experiment_file import load_experiment
from dfkd.settings.experiment import ExperimentSettings


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    config_benchmark.add_arguments(parser)
    arguments = parser.parse_args()
    settings, _ = load_experiment(arguments.config, arguments.set)
    device = choose_device(settings)
    limits = ceilings(device)
    shape = config_benchmark.shape_of(settings, arguments.image_shape)
    passes = Floor(settings, shape, compiled=not arguments.no_compile, bf16=arguments.bf16).measure(
        seconds=arguments.seconds
    )
    batches = {"student": settings.distillation.batch_size, "synthesis": getattr(settings.synthesis, "batch_size", 0)}
    asked = {"image_shape": shape, "batch_sizes": batches}
    config_benchmark.write(summary(passes, limits) | asked | config_benchmark.surroundings(device), arguments.json)


if __name__ == "__main__":
    main()

"""What the parts of a run cost: multiply-accumulates, counted by really running them, or seconds of this machine."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from dfkd.assembly import Materials, build_distillation, choose_device
from dfkd.distillation import Distillation, student_step
from dfkd.settings.experiment import ExperimentSettings

#: Batch sizes at which is counted. What a step costs is a polynomial of at most degree two in its batch size (pairs
#: make it quadratic), which three sizes decide. Multiples of 12: noise sources share a batch without a remainder.
BATCH_SIZES = (12, 24, 36)
#: Steps of a round at which is counted; a round costs a fixed part and as much again for every step.
ROUND_STEPS = (4, 8)
ROUND_STEPS_NAMES = ("generator_steps", "image_steps")  # how methods call them
MANY_STEPS = 10**6  # student steps of an epoch, to see how a method alternates in long ones
HALFWAY = 0.5  # of the run's student steps: an ordinary round, not the first
TIMED_ROUNDS, TIMED_STEPS = 3, 30  # calls whose median is taken, after one that is not timed


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCosts:
    """What each part of a run costs, in one unit.

    Attributes:
        start: once, beyond the first round: such as a generator that is trained before the student's first turn.
        warm_up_round: one round of a warm-up epoch; 0 without warm-up.
        round: one later round of a method with a bank, or the generator's part of one turn.
        sample: the images of one student step.
        step: the rest of one student step.
        steps_per_turn: student steps after each synthesis; None: one synthesis an epoch, whatever its steps.
    """

    start: float = 0.0
    warm_up_round: float = 0.0
    round: float
    sample: float
    step: float
    steps_per_turn: int | None = None


Meter = Callable[[Distillation, Callable[[], object], int], float]  # run, what to call, how often -> cost of a call


def count_macs(settings: ExperimentSettings, materials: Materials) -> PartCosts:
    """Count the multiply-accumulates of a run's parts, forward and backward, of every network that takes part.

    Counted are matrix products and convolutions, as ``FlopCounterMode`` finds them; element-wise work, BatchNorm,
    resizing and optimisers are not. Each part is really run, at small batch sizes and in short rounds, and extrapolated
    to the run's own. A method whose rounds differ is counted by an ordinary one.

    Args:
        settings: of the run, with one worker.
        materials: its teacher, and what else the method works on.
    """
    round_steps = _round_steps(settings)
    at_steps = (round_steps,) if round_steps is None or round_steps <= ROUND_STEPS[-1] else ROUND_STEPS
    counted: dict[tuple[int, int | None], PartCosts] = {}

    def count(part: str, batch_size: int, steps: int | None) -> float:
        if (batch_size, steps) not in counted:
            run = _start(settings, materials, torch.device("cpu"), batch_size=batch_size, round_steps=steps)
            counted[batch_size, steps] = _measure(run, _macs_of)
        return float(getattr(counted[batch_size, steps], part))

    def at_batch(part: str, batch_size: int) -> float:
        if len(at_steps) == 1:
            return count(part, batch_size, at_steps[0])
        assert round_steps is not None
        return extrapolate(ROUND_STEPS, [count(part, batch_size, steps) for steps in ROUND_STEPS], round_steps)

    def whole(part: str, batch_size: int) -> float:
        if batch_size <= BATCH_SIZES[-1]:
            return at_batch(part, batch_size)
        return extrapolate(BATCH_SIZES, [at_batch(part, size) for size in BATCH_SIZES], batch_size)

    synthesis_batch = getattr(settings.synthesis, "batch_size", BATCH_SIZES[0])
    costs = {part: whole(part, synthesis_batch) for part in ("start", "warm_up_round", "round")}
    costs |= {part: whole(part, settings.distillation.batch_size) for part in ("sample", "step")}
    return PartCosts(**costs, steps_per_turn=next(iter(counted.values())).steps_per_turn)


def time_parts(settings: ExperimentSettings, materials: Materials) -> PartCosts:
    """Measure the seconds of a run's parts on this machine, which should have nothing else to do.

    Args:
        settings: of the run, with one worker.
        materials: its teacher, and what else the method works on.
    """
    return _measure(_start(settings, materials, choose_device(settings)), _seconds_of)


def extrapolate(sizes: Sequence[int], counts: Sequence[float], size: int) -> float:
    """Return the value at ``size`` of the polynomial through the counts at ``sizes`` (Lagrange's form)."""
    total = 0.0
    for own, count in zip(sizes, counts, strict=True):
        total += count * math.prod((size - other) / (own - other) for other in sizes if other != own)
    return max(0.0, total)


def _round_steps(settings: ExperimentSettings) -> int | None:
    found = [getattr(settings.synthesis, name) for name in ROUND_STEPS_NAMES if hasattr(settings.synthesis, name)]
    return found[0] if found else None


def _start(
    settings: ExperimentSettings,
    materials: Materials,
    device: torch.device,
    *,
    batch_size: int | None = None,
    round_steps: int | None = None,
) -> Distillation:
    """Build a run that has one round where there may be many, at other batch sizes and lengths of a round if given."""
    synthesis, distillation = settings.synthesis, settings.distillation
    wanted: dict[str, int | None] = {"rounds_per_epoch": 1, "batch_size": batch_size}
    wanted |= dict.fromkeys(ROUND_STEPS_NAMES, round_steps)
    if getattr(synthesis, "warm_up_epochs", 0):
        wanted["warm_up_rounds"] = 1
    changes: dict[str, Any] = {
        name: value for name, value in wanted.items() if value is not None and hasattr(synthesis, name)
    }
    if batch_size is not None:
        distillation = dataclasses.replace(distillation, batch_size=batch_size)
    small = dataclasses.replace(
        settings, synthesis=dataclasses.replace(synthesis, **changes), distillation=distillation
    )
    return build_distillation(small, materials.teacher, device=device, images=materials.images)


def _measure(run: Distillation, cost_of: Meter) -> PartCosts:
    """Run the first synthesis, an ordinary one and a student step, in this order, and return what each costs."""
    method, warm_up = run.synthesizer, run.synthesizer.warm_up_epochs
    first = cost_of(run, lambda: method.synthesize(0, 0.0), 1)
    warm_up_round = cost_of(run, lambda: method.synthesize(0, 0.0), TIMED_ROUNDS) if warm_up else 0.0
    run.epoch = warm_up
    ordinary = cost_of(run, lambda: method.synthesize(warm_up, HALFWAY), TIMED_ROUNDS)
    sample = cost_of(run, lambda: method.sample(run.settings.batch_size), TIMED_STEPS)
    step = cost_of(run, lambda: student_step(run), TIMED_STEPS)
    rounds = method.rounds(warm_up, MANY_STEPS)
    return PartCosts(
        start=max(0.0, first - (warm_up_round if warm_up else ordinary)),
        warm_up_round=warm_up_round,
        round=ordinary,
        sample=sample,
        step=max(0.0, step - sample),
        steps_per_turn=None if rounds.per_epoch == 1 else rounds.student_steps,
    )


def _macs_of(run: Distillation, call: Callable[[], object], times: int) -> float:
    """Return the multiply-accumulates of one call; a product and its addition are two operations to torch."""
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops()) / 2


def _seconds_of(run: Distillation, call: Callable[[], object], times: int) -> float:
    """Return the seconds of the one call, or the median of several after one that pays for first times."""
    seconds = []
    for _ in range(times if times == 1 else 1 + times):
        began = time.perf_counter()
        call()
        if run.pair.device.type != "cpu":
            torch.accelerator.synchronize(run.pair.device)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[-times:])

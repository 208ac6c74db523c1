"""What the parts of a run cost: multiply-accumulates, counted by really running them, or seconds of this machine."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dfkd.assembly import Materials, build_distillation, choose_device
from dfkd.comparison.meters import Meter, count, metered_samples, typical
from dfkd.comparison.meters import seconds as seconds_of
from dfkd.distillation import Distillation, student_step
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.synthesis import RoundsSettings

#: Batch sizes at which is counted. What a step costs is a polynomial of at most degree two in its batch size (pairs
#: make it quadratic), which three sizes decide. Multiples of 12: noise sources share a batch without a remainder.
BATCH_SIZES = (12, 24, 36)
#: Steps of a round at which is counted and timed: a round costs a fixed part and as much again for every step.
ROUND_STEPS = (4, 8)
ROUND_STEPS_NAMES = ("generator_steps", "image_steps")  # how methods call them
MANY_STEPS = 10**6  # student steps of an epoch, to see how a method alternates in long ones
HALFWAY = 0.5  # of the run's student steps: an ordinary round, not the first
_NOT_OF_SYNTHESIS = ("growing_rounds", "sample", "step", "steps_per_turn")  # fields of PartCosts
TIMED_ROUNDS, TIMED_STEPS = 3, 30  # calls whose median is taken, after one that is not timed


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCosts:
    """What each part of a run costs, in one unit.

    Attributes:
        start: once, beyond the first round: such as a generator that is trained before the student's first turn.
        warm_up_round: one round of a warm-up epoch without its steps; 0 without warm-up.
        warm_up_round_step: each of its steps.
        round: one later round of a method with a bank, without its steps; or the generator's part of one turn.
        round_step: each of its steps; 0 where there are no rounds.
        round_step_growth: what k former rounds add to a step, times k, for k up to ``growing_rounds``: a memory fills.
        round_step_growth_squared: the same, times k squared.
        growing_rounds: how many rounds that goes on.
        sample: the images of one student step, the mean over a turn's steps, or over a method's ways to draw them.
        step: the rest of one student step, the mean over a turn's steps.
        steps_per_turn: student steps after each synthesis; None: one synthesis an epoch, whatever its steps.
    """

    start: float = 0.0
    warm_up_round: float = 0.0
    warm_up_round_step: float = 0.0
    round: float
    round_step: float = 0.0
    round_step_growth: float = 0.0
    round_step_growth_squared: float = 0.0
    growing_rounds: int = 0
    sample: float
    step: float
    steps_per_turn: int | None = None


def count_macs(settings: ExperimentSettings, materials: Materials) -> PartCosts:
    """Count the multiply-accumulates of a run's parts, forward and backward, of every network that takes part.

    Counted are matrix products and convolutions, as torch's formulas have them; element-wise work, BatchNorm,
    resizing and optimisers are not. Each part is really run, at small batch sizes and in short rounds, and extrapolated
    to the run's own. A method whose rounds differ is counted by an ordinary one.

    Args:
        settings: of the run, with one worker.
        materials: its teacher, and what else the method works on.
    """
    counted: dict[int, PartCosts] = {}

    def whole(part: str, batch_size: int) -> float:
        sizes = (batch_size,) if batch_size <= BATCH_SIZES[-1] else BATCH_SIZES
        for size in sizes:
            if size not in counted:
                counted[size] = _measure(settings, materials, torch.device("cpu"), count, batch_size=size)
        return extrapolate(sizes, [getattr(counted[size], part) for size in sizes], batch_size)

    of_synthesis = [field.name for field in dataclasses.fields(PartCosts) if field.name not in _NOT_OF_SYNTHESIS]
    synthesis_batch = getattr(settings.synthesis, "batch_size", BATCH_SIZES[0])
    costs = {part: whole(part, synthesis_batch) for part in of_synthesis}
    costs |= {part: whole(part, settings.distillation.batch_size) for part in ("sample", "step")}
    growing = getattr(settings.synthesis, "growing_rounds", 0)
    return PartCosts(**costs, growing_rounds=growing, steps_per_turn=next(iter(counted.values())).steps_per_turn)


def time_parts(settings: ExperimentSettings, materials: Materials) -> PartCosts:
    """Measure the seconds of a run's parts on this machine, which should have nothing else to do.

    What a memory adds as it fills is not seen: rounds are timed while it is all but empty.

    Args:
        settings: of the run, with one worker.
        materials: its teacher, and what else the method works on.
    """
    return _measure(settings, materials, choose_device(settings), seconds_of)


def round_steps_name(synthesis: RoundsSettings) -> str:
    """Return the setting that holds the steps of a round: ``generator_steps`` or ``image_steps``."""
    (name,) = [name for name in ROUND_STEPS_NAMES if hasattr(synthesis, name)]
    return name


def extrapolate(sizes: Sequence[int], counts: Sequence[float], size: int) -> float:
    """Return the value at ``size`` of the polynomial through the counts at ``sizes`` (Lagrange's form)."""
    total = 0.0
    for own, value in zip(sizes, counts, strict=True):
        total += value * math.prod((size - other) / (own - other) for other in sizes if other != own)
    return max(0.0, total)


def _measure(
    settings: ExperimentSettings,
    materials: Materials,
    device: torch.device,
    cost_of: Meter,
    *,
    batch_size: int | None = None,
) -> PartCosts:
    """Return what the parts cost at one batch size, the settings' own if none is given."""
    if not isinstance(settings.synthesis, RoundsSettings):
        return _measure_run(_start(settings, materials, device, batch_size=batch_size), cost_of)
    remembers = cost_of is count and settings.synthesis.growing_rounds > 0
    fewer, more = (
        _measure_run(
            _start(settings, materials, device, batch_size=batch_size, round_steps=steps), cost_of, remembers=remembers
        )
        for steps in ROUND_STEPS
    )
    round_step, warm_up_round_step = (
        max(0.0, (getattr(more, part) - getattr(fewer, part)) / (ROUND_STEPS[1] - ROUND_STEPS[0]))
        for part in ("round", "warm_up_round")
    )
    return dataclasses.replace(
        more,
        round=max(0.0, more.round - ROUND_STEPS[1] * round_step),
        round_step=round_step,
        warm_up_round=max(0.0, more.warm_up_round - ROUND_STEPS[1] * warm_up_round_step),
        warm_up_round_step=warm_up_round_step,
        round_step_growth=more.round_step_growth / ROUND_STEPS[1],
        round_step_growth_squared=more.round_step_growth_squared / ROUND_STEPS[1],
    )


def _start(
    settings: ExperimentSettings,
    materials: Materials,
    device: torch.device,
    *,
    batch_size: int | None = None,
    round_steps: int | None = None,
) -> Distillation:
    """Build a run with one round an epoch, at another batch size and with other steps of a round if given."""
    synthesis, distillation = settings.synthesis, settings.distillation
    changes: dict[str, Any] = {}
    if isinstance(synthesis, RoundsSettings):
        changes = {"rounds_per_epoch": 1, round_steps_name(synthesis): round_steps}
        changes |= {"warm_up_rounds": 1} if synthesis.warm_up_epochs else {}
    if batch_size is not None:
        distillation = dataclasses.replace(distillation, batch_size=batch_size)
        changes |= {"batch_size": batch_size} if hasattr(synthesis, "batch_size") else {}
    small = dataclasses.replace(
        settings, synthesis=dataclasses.replace(synthesis, **changes), distillation=distillation
    )
    return build_distillation(small, materials.teacher, device=device, images=materials.images)


def _measure_run(run: Distillation, cost_of: Meter, *, remembers: bool = False) -> PartCosts:
    """Run the first synthesis, an ordinary one and a student step, in this order, and return what each costs.

    Args:
        run: new.
        cost_of: what is measured.
        remembers: whether a memory fills that makes every round cost more than the one before.
    """
    method, warm_up = run.synthesizer, run.synthesizer.warm_up_epochs
    first = cost_of(run, lambda: method.synthesize(0, 0.0))
    warm_up_round = typical(cost_of, run, lambda: method.synthesize(0, 0.0), TIMED_ROUNDS) if warm_up else 0.0
    run.epoch = warm_up

    def ordinary_round() -> float:
        return typical(cost_of, run, lambda: method.synthesize(warm_up, HALFWAY), TIMED_ROUNDS)

    ordinary = ordinary_round()
    sample, step = _student_step(run, cost_of)
    parts = PartCosts(
        start=max(0.0, first - (warm_up_round if warm_up else ordinary)),
        warm_up_round=warm_up_round,
        round=ordinary,
        sample=sample,
        step=step,
        steps_per_turn=_steps_per_turn(run),
    )
    if not remembers:
        return parts
    return _without_memory(parts, [ordinary, ordinary_round(), ordinary_round()], former=2 if warm_up else 1)


def _student_step(run: Distillation, cost_of: Meter) -> tuple[float, float]:
    """Return what the images of a student step cost, and what the rest of it does.

    The steps of a turn differ: a memory is taught in some of them, a teacher is asked in the first alone. So whole
    turns are measured, each after a synthesis that is not. Images that a method draws in several ways, each as
    likely, are measured in each.
    """
    in_turns = _steps_per_turn(run)
    steps = in_turns or 1
    turns = 1 if cost_of is count else 1 + math.ceil(TIMED_STEPS / steps)
    samples, rests = [], []
    for _ in range(turns):
        if in_turns:
            run.synthesizer.synthesize(run.epoch, HALFWAY)
        with metered_samples(run, cost_of) as drawn:
            whole = cost_of(run, lambda: [student_step(run) for _ in range(steps)])
        samples.append(sum(drawn) / steps)
        rests.append(max(0.0, whole - sum(drawn)) / steps)
    warm = turns > 1  # the first turn pays for first times
    sample, rest = statistics.median(samples[warm:]), statistics.median(rests[warm:])
    if (ways := getattr(run.synthesizer, "ways_to_sample", None)) is not None:
        sample = statistics.fmean(typical(cost_of, run, way, TIMED_STEPS) for way in ways(run.settings.batch_size))
    return sample, rest


def _without_memory(parts: PartCosts, rounds: Sequence[float], *, former: int) -> PartCosts:
    """Return the parts as they are while a memory is empty, and what it adds: the parabola through three rounds.

    Args:
        parts: measured.
        rounds: what three rounds cost, one after the other.
        former: how many rounds came before the first of them.
    """
    squared = (rounds[2] - 2 * rounds[1] + rounds[0]) / 2
    linear = rounds[1] - rounds[0] - squared * (2 * former + 1)
    return dataclasses.replace(
        parts,
        warm_up_round=max(0.0, parts.warm_up_round - linear - squared) if parts.warm_up_round else 0.0,
        round=parts.round - linear * former - squared * former**2,
        round_step_growth=linear,
        round_step_growth_squared=squared,
    )


def _steps_per_turn(run: Distillation) -> int | None:
    rounds = run.synthesizer.rounds(run.epoch, MANY_STEPS)
    return None if rounds.per_epoch == 1 else rounds.student_steps

"""A row's settings scaled to a budget, by one rule for all methods. It is stated for readers in docs/comparison.md."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dfkd.comparison.cost import PartCosts, round_steps_name
from dfkd.settings.comparison import WARM_UP_SHARE
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.synthesis import RoundsSettings

#: A run has as many epochs, each with a round at least: images of one or two would never answer to the student.
MIN_EPOCHS = 20
MIN_ROUND_STEPS = 10  # where rounds are shortened because fewer than MIN_EPOCHS of the settings' own would fit
MAX_EPOCHS = 60  # of a method without rounds, to which epochs mean nothing: each costs an evaluation
CHECKPOINTS = 8  # of a run, evenly spread: what an interruption can cost at most is an eighth of it
FILLED = 1.1  # times the steps that go with the rounds: above it a note says so
USED = 0.95  # of the budget: below it a note says so
_HALVINGS = 60  # of the interval in which the factor lies


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCost:
    """What a whole run costs, in the unit of its parts.

    Attributes:
        warm_up: whatever comes before the student learns.
        synthesis: making images afterwards.
        distillation: the student's steps.
    """

    warm_up: float
    synthesis: float
    distillation: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.warm_up + self.synthesis + self.distillation

    @property
    def warm_up_share(self) -> float:
        """Of the total, in [0, 1]."""
        return self.warm_up / self.total


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaledRun:
    """A run that fits its budget.

    Attributes:
        settings: scaled.
        factor: f, by which the lengths of the unscaled run were multiplied.
        cost: of the scaled run.
        notes: what a reader of the table should know, such as a warm-up that was cut.
    """

    settings: ExperimentSettings
    factor: float
    cost: RunCost
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """How long a run is: what scaling changes.

    Attributes:
        epochs: with student steps.
        steps_per_epoch: of the student.
        warm_up_epochs: before the student learns.
        warm_up_rounds: a warm-up epoch; 0 without warm-up.
        rounds_per_epoch: of a method with a bank; 0 for any other.
        round_steps: of generator or pixels, in every round; 0 for a method without rounds.
    """

    epochs: int
    steps_per_epoch: int
    warm_up_epochs: int = 0
    warm_up_rounds: int = 0
    rounds_per_epoch: int = 0
    round_steps: int = 0

    @property
    def all_warm_up_rounds(self) -> int:
        """Warm-up rounds of the run."""
        return self.warm_up_epochs * self.warm_up_rounds


def lengths_of(settings: ExperimentSettings) -> Lengths:
    """Return how long a run of these settings is."""
    synthesis, distillation = settings.synthesis, settings.distillation
    student = Lengths(epochs=distillation.epochs, steps_per_epoch=distillation.steps_per_epoch)
    if not isinstance(synthesis, RoundsSettings):
        return student
    return dataclasses.replace(
        student,
        warm_up_epochs=synthesis.warm_up_epochs,
        warm_up_rounds=synthesis.warm_up_rounds if synthesis.warm_up_epochs else 0,
        rounds_per_epoch=synthesis.rounds_per_epoch,
        round_steps=getattr(synthesis, round_steps_name(synthesis)),
    )


def cost_of(lengths: Lengths, parts: PartCosts) -> RunCost:
    """Return what a run of these lengths costs, in the unit of its parts."""
    syntheses, steps = lengths.rounds_per_epoch or 1, lengths.steps_per_epoch
    if parts.steps_per_turn is not None:  # generator and student take turns, and a turn that was begun is finished
        syntheses = -(-steps // parts.steps_per_turn)
        steps = syntheses * parts.steps_per_turn
    warm_up_round = parts.warm_up_round + lengths.round_steps * parts.warm_up_round_step
    later_round = parts.round + lengths.round_steps * parts.round_step
    warm_up, later = lengths.all_warm_up_rounds, lengths.epochs * syntheses
    remembered = lengths.round_steps * _remembering(warm_up, parts)
    remembered_later = lengths.round_steps * _remembering(warm_up + later, parts) - remembered
    return RunCost(
        warm_up=parts.start + warm_up * warm_up_round + remembered,
        synthesis=later * later_round + remembered_later + lengths.epochs * steps * parts.sample,
        distillation=lengths.epochs * steps * parts.step,
    )


def _remembering(rounds: int, parts: PartCosts) -> float:
    """Return what a memory that fills adds to one step of each of so many rounds, all of them together."""
    growing, most = min(rounds, parts.growing_rounds), parts.growing_rounds
    former = growing * (growing - 1) / 2 + (rounds - growing) * most  # 0 + 1 + ..., each at most ``most``
    squared = growing * (growing - 1) * (2 * growing - 1) / 6 + (rounds - growing) * most**2
    return former * parts.round_step_growth + squared * parts.round_step_growth_squared


def scale_to_budget(settings: ExperimentSettings, parts: PartCosts, budget: float) -> ScaledRun:
    """Return the settings whose run costs at most ``budget``, and as nearly that as whole rounds and steps allow.

    The rounds, student steps and warm-up rounds of the whole run are multiplied by one factor f, found by bisection;
    batch sizes stay. A run keeps at least ``MIN_EPOCHS`` epochs and rounds: where f leaves fewer rounds, there are as
    many with proportionally fewer steps each. The warm-up is cut to ``WARM_UP_SHARE`` of the cost.

    Args:
        settings: unscaled.
        parts: what each part of the run costs, in the budget's unit.
        budget: of the whole run.

    Raises:
        ValueError: the budget does not pay the shortest run.
    """
    whole = lengths_of(settings)

    def fits(lengths: Lengths) -> bool:
        return cost_of(lengths, parts).total <= budget

    one_step = MIN_EPOCHS / (whole.epochs * whole.steps_per_epoch)  # an epoch
    if not fits(shortest := _multiplied(whole, one_step, parts)):
        rounds = f" and one round of {shortest.round_steps} steps" if shortest.rounds_per_epoch else ""
        raise ValueError(
            f"the budget of {budget:.3g} does not pay the shortest run, {shortest.epochs} epochs with one student step"
            f"{rounds} each, which costs {cost_of(shortest, parts).total:.3g}. Give at least that, or take smaller "
            "batches or networks."
        )
    factor = _largest(lambda factor: fits(_multiplied(whole, factor, parts)), start=one_step)
    multiplied = _multiplied(whole, factor, parts)
    lengths = _filled(multiplied, fits)
    cost = cost_of(lengths, parts)
    notes = [f"{factor:.3g} times the length of its settings", *_notes(whole, lengths, parts)]
    if lengths.steps_per_epoch > FILLED * multiplied.steps_per_epoch:
        more = lengths.steps_per_epoch / multiplied.steps_per_epoch
        notes.append(f"{more:.2g} times the student steps that go with its rounds: no further round fits")
    if cost.total < USED * budget:
        notes.append(f"uses {cost.total / budget:.0%} of the budget: no further round fits")
    return ScaledRun(settings=_apply(settings, lengths), factor=factor, cost=cost, notes=tuple(notes))


def _multiplied(whole: Lengths, factor: float, parts: PartCosts) -> Lengths:
    """Return the lengths times f, in whole epochs, with the warm-up cut where it is too long."""
    steps, epochs = factor * whole.epochs * whole.steps_per_epoch, round(factor * whole.epochs)
    if not whole.rounds_per_epoch:
        epochs = min(max(epochs, MIN_EPOCHS), MAX_EPOCHS)
        return Lengths(epochs=epochs, steps_per_epoch=max(1, math.floor(steps / epochs)))
    wanted = factor * whole.epochs * whole.rounds_per_epoch  # rounds
    rounds = max(MIN_EPOCHS, round(wanted))
    per_epoch = rounds // MIN_EPOCHS if epochs < MIN_EPOCHS else max(1, round(rounds / epochs))
    epochs = rounds // per_epoch
    shorter = whole.round_steps if round(wanted) >= rounds else math.floor(whole.round_steps * wanted / rounds)
    main = Lengths(
        epochs=epochs,
        steps_per_epoch=max(1, math.floor(steps / epochs)),
        rounds_per_epoch=per_epoch,
        round_steps=max(min(whole.round_steps, MIN_ROUND_STEPS), shorter),
    )
    return _with_warm_up(main, whole, rounds / (whole.epochs * whole.rounds_per_epoch), parts)


def _with_warm_up(main: Lengths, whole: Lengths, factor: float, parts: PartCosts) -> Lengths:
    """Return the lengths with the warm-up times ``factor``, as far as its share of the cost may go."""
    one_round = parts.warm_up_round + main.round_steps * parts.warm_up_round_step
    learning = cost_of(main, parts).total - parts.start
    most = learning * WARM_UP_SHARE / (1 - WARM_UP_SHARE) - parts.start
    rounds = round(factor * whole.all_warm_up_rounds)
    if rounds and one_round > 0:
        rounds = max(0, min(rounds, math.floor(most / one_round)))
    if not rounds:
        return main
    epochs = min(max(1, round(whole.warm_up_epochs * main.epochs / whole.epochs)), rounds)
    return dataclasses.replace(main, warm_up_epochs=epochs, warm_up_rounds=rounds // epochs)


def _largest(fits: Callable[[float], bool], *, start: float) -> float:
    """Return the largest factor that fits, by bisection; ``start`` fits."""
    low, high = start, 2 * start
    while fits(high):
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _filled(lengths: Lengths, fits: Callable[[Lengths], bool]) -> Lengths:
    """Return the lengths with as many student steps as still fit, at most twice: whole rounds leave a rest."""
    low, high = lengths.steps_per_epoch, 2 * lengths.steps_per_epoch + 1
    while high - low > 1:
        middle = (low + high) // 2
        more = dataclasses.replace(lengths, steps_per_epoch=middle)
        low, high = (middle, high) if fits(more) else (low, middle)
    lengths = dataclasses.replace(lengths, steps_per_epoch=low)
    while not lengths.rounds_per_epoch and lengths.epochs < MAX_EPOCHS:
        more = dataclasses.replace(lengths, epochs=lengths.epochs + 1)
        if not fits(more):
            break
        lengths = more
    return lengths


def _apply(settings: ExperimentSettings, lengths: Lengths) -> ExperimentSettings:
    """Return the settings with these lengths; what happens every n epochs happens as often in a shorter run."""
    synthesis = settings.synthesis
    changes: dict[str, Any] = {}
    if isinstance(synthesis, RoundsSettings):
        changes = {
            "warm_up_epochs": lengths.warm_up_epochs,
            "rounds_per_epoch": lengths.rounds_per_epoch,
            round_steps_name(synthesis): lengths.round_steps,
        }
        if lengths.warm_up_epochs:  # without, settings still ask for a round, which nobody runs
            changes["warm_up_rounds"] = lengths.warm_up_rounds
    shorter = min(1.0, lengths.epochs / settings.distillation.epochs)
    for name in synthesis.COUNTED_IN_EPOCHS:
        every = getattr(synthesis, name)
        changes[name] = every and max(1, round(every * shorter))  # 0 means never
    distillation = dataclasses.replace(
        settings.distillation,
        epochs=lengths.epochs,
        steps_per_epoch=lengths.steps_per_epoch,
        checkpoint_every=max(1, (lengths.warm_up_epochs + lengths.epochs) // CHECKPOINTS),
    )
    return dataclasses.replace(settings, synthesis=dataclasses.replace(synthesis, **changes), distillation=distillation)


def _notes(whole: Lengths, lengths: Lengths, parts: PartCosts) -> list[str]:
    """Return what the rule had to cut."""
    notes = []
    if lengths.round_steps < whole.round_steps:
        notes.append(f"rounds of {lengths.round_steps} steps, not {whole.round_steps}: no {MIN_EPOCHS} of those fit")
    share = cost_of(lengths, parts).warm_up_share
    if share > WARM_UP_SHARE:
        return [*notes, f"{share:.0%} of the cost come before the student learns, and cannot be cut"]
    rounds = lengths.epochs * lengths.rounds_per_epoch
    wanted = round(whole.all_warm_up_rounds * rounds / max(1, whole.epochs * whole.rounds_per_epoch))
    if wanted - lengths.all_warm_up_rounds > lengths.warm_up_epochs:  # more than rounding takes
        uncut = dataclasses.replace(lengths, warm_up_epochs=1, warm_up_rounds=wanted)
        uncut_share = cost_of(uncut, parts).warm_up_share
        notes.append(f"warm-up cut from {uncut_share:.0%} to {share:.0%} of the cost")
    return notes

"""A row's settings scaled to a budget, by one rule for all methods. It is stated for readers in docs/comparison.md."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

from dfkd.comparison.cost import PartCosts
from dfkd.settings.comparison import WARM_UP_SHARE
from dfkd.settings.experiment import ExperimentSettings

CHECKPOINTS = 8  # of a run, evenly spread: what an interruption can cost at most is an eighth of it
FILLED = 1.1  # times the steps that go with the rounds: above it a note says so
USED = 0.95  # of the budget: below it a note says so
_HALVINGS = 60  # of the interval in which the factor lies
_OF_SYNTHESIS = ("warm_up_epochs", "warm_up_rounds", "rounds_per_epoch")


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
        warm_up_epochs: before the student learns.
        warm_up_rounds: a warm-up epoch; 0 without warm-up.
        epochs: with student steps.
        rounds_per_epoch: of a method with a bank; 1 for any other.
        steps_per_epoch: of the student.
    """

    warm_up_epochs: int = 0
    warm_up_rounds: int = 0
    epochs: int
    rounds_per_epoch: int = 1
    steps_per_epoch: int

    @property
    def all_warm_up_rounds(self) -> int:
        """Warm-up rounds of the run."""
        return self.warm_up_epochs * self.warm_up_rounds


def lengths_of(settings: ExperimentSettings) -> Lengths:
    """Return how long a run of these settings is."""
    synthesis = settings.synthesis
    warm_up_epochs = getattr(synthesis, "warm_up_epochs", 0)
    return Lengths(
        warm_up_epochs=warm_up_epochs,
        warm_up_rounds=getattr(synthesis, "warm_up_rounds", 0) if warm_up_epochs else 0,
        epochs=settings.distillation.epochs,
        rounds_per_epoch=getattr(synthesis, "rounds_per_epoch", 1),
        steps_per_epoch=settings.distillation.steps_per_epoch,
    )


def cost_of(lengths: Lengths, parts: PartCosts) -> RunCost:
    """Return what a run of these lengths costs, in the unit of its parts."""
    syntheses, steps = lengths.rounds_per_epoch, lengths.steps_per_epoch
    if parts.steps_per_turn is not None:  # generator and student take turns, and a turn that was begun is finished
        syntheses = -(-steps // parts.steps_per_turn)
        steps = syntheses * parts.steps_per_turn
    return RunCost(
        warm_up=parts.start + lengths.all_warm_up_rounds * parts.warm_up_round,
        synthesis=lengths.epochs * (syntheses * parts.round + steps * parts.sample),
        distillation=lengths.epochs * steps * parts.step,
    )


def scale_to_budget(settings: ExperimentSettings, parts: PartCosts, budget: float) -> ScaledRun:
    """Return the settings whose run costs at most ``budget``, and as nearly that as whole rounds and steps allow.

    The run's epochs, rounds, student steps and warm-up rounds are multiplied by one factor f, found by bisection. Batch
    sizes and the steps of a round stay. The warm-up is cut to ``WARM_UP_SHARE`` of the cost.

    Args:
        settings: unscaled.
        parts: what each part of the run costs, in the budget's unit.
        budget: of the whole run.

    Raises:
        ValueError: the budget does not pay one epoch as the settings have it.
    """
    whole = lengths_of(settings)

    def fits(lengths: Lengths) -> bool:
        return cost_of(lengths, parts).total <= budget

    one_epoch = _multiplied(whole, 1 / whole.epochs, parts)
    if not fits(one_epoch):
        raise ValueError(
            f"the budget of {budget:.3g} does not pay one epoch, which costs {cost_of(one_epoch, parts).total:.3g}. "
            "Give at least that, or make the method's epoch shorter (distillation.steps_per_epoch, "
            "synthesis.rounds_per_epoch, or the steps of a round)."
        )
    factor = _largest(lambda factor: fits(_multiplied(whole, factor, parts)), start=1 / whole.epochs)
    multiplied = _multiplied(whole, factor, parts)
    lengths = _filled(multiplied, fits)
    cost = cost_of(lengths, parts)
    notes = [f"{factor:.3g} times the length of its settings", *_warm_up_note(whole, lengths, factor, parts)]
    if lengths.steps_per_epoch > FILLED * multiplied.steps_per_epoch:
        more = lengths.steps_per_epoch / multiplied.steps_per_epoch
        notes.append(f"{more:.2g} times the student steps that go with its rounds: no further round fits")
    if cost.total < USED * budget:
        notes.append(f"uses {cost.total / budget:.0%} of the budget: no further round fits")
    return ScaledRun(settings=_apply(settings, lengths, factor), factor=factor, cost=cost, notes=tuple(notes))


def _multiplied(whole: Lengths, factor: float, parts: PartCosts) -> Lengths:
    """Return the lengths times f: totals in proportion, in whole epochs, with the warm-up cut where it is too long."""
    epochs = max(1, round(factor * whole.epochs))
    share = factor * whole.epochs / epochs  # of an epoch as it was; 1 but for rounding
    main = Lengths(
        epochs=epochs,
        rounds_per_epoch=max(1, round(share * whole.rounds_per_epoch)),
        steps_per_epoch=max(1, math.floor(share * whole.steps_per_epoch)),
    )
    rounds = round(factor * whole.all_warm_up_rounds)
    if parts.warm_up_round > 0:
        learning = cost_of(main, parts).total - parts.start
        most = learning * WARM_UP_SHARE / (1 - WARM_UP_SHARE) - parts.start
        rounds = max(0, min(rounds, math.floor(most / parts.warm_up_round)))
    if not rounds:
        return main
    warm_up_epochs = min(max(1, round(factor * whole.warm_up_epochs)), rounds)
    return dataclasses.replace(main, warm_up_epochs=warm_up_epochs, warm_up_rounds=rounds // warm_up_epochs)


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
    """Return the lengths with as many student steps an epoch as still fit, at most twice: whole rounds leave a rest."""
    low, high = lengths.steps_per_epoch, 2 * lengths.steps_per_epoch + 1
    while high - low > 1:
        middle = (low + high) // 2
        more = dataclasses.replace(lengths, steps_per_epoch=middle)
        low, high = (middle, high) if fits(more) else (low, middle)
    return dataclasses.replace(lengths, steps_per_epoch=low)


def _apply(settings: ExperimentSettings, lengths: Lengths, factor: float) -> ExperimentSettings:
    """Return the settings with these lengths; what happens every n epochs happens as often in a shorter run."""
    synthesis, changes = settings.synthesis, {name: getattr(lengths, name) for name in _OF_SYNTHESIS}
    if not lengths.warm_up_epochs:
        del changes["warm_up_rounds"]  # settings ask for at least one, which nobody would run
    for name in synthesis.COUNTED_IN_EPOCHS:
        every = getattr(synthesis, name)
        changes[name] = every and max(1, round(every * min(1.0, factor)))  # 0 means never
    known = {field.name for field in dataclasses.fields(synthesis)}
    changes = {name: value for name, value in changes.items() if name in known}
    distillation = dataclasses.replace(
        settings.distillation,
        epochs=lengths.epochs,
        steps_per_epoch=lengths.steps_per_epoch,
        checkpoint_every=max(1, (lengths.warm_up_epochs + lengths.epochs) // CHECKPOINTS),
    )
    return dataclasses.replace(settings, synthesis=dataclasses.replace(synthesis, **changes), distillation=distillation)


def _warm_up_note(whole: Lengths, lengths: Lengths, factor: float, parts: PartCosts) -> list[str]:
    wanted, share = round(factor * whole.all_warm_up_rounds), cost_of(lengths, parts).warm_up_share
    if share > WARM_UP_SHARE:
        return [f"{share:.0%} of the cost come before the student learns, and cannot be cut"]
    if wanted - lengths.all_warm_up_rounds <= lengths.warm_up_epochs:  # no more than rounding takes
        return []
    uncut = dataclasses.replace(lengths, warm_up_epochs=1, warm_up_rounds=wanted)
    return [f"warm-up cut from {cost_of(uncut, parts).warm_up_share:.0%} to {share:.0%} of the cost"]

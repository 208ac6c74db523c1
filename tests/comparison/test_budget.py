from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from dfkd.comparison.budget import (
    MAX_EPOCHS,
    MIN_EPOCHS,
    MIN_ROUND_STEPS,
    Lengths,
    cost_of,
    lengths_of,
    scale_to_budget,
)
from dfkd.comparison.cost import PartCosts
from dfkd.settings.comparison import WARM_UP_SHARE
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.synthesis import DaflSettings, DfqSettings, RandomNoiseSettings

Settings = Callable[..., ExperimentSettings]
BANKED = PartCosts(start=5, warm_up_round=1, warm_up_round_step=2, round=3, round_step=4, sample=6, step=10)


@pytest.fixture
def banked(tiny_settings: Settings) -> ExperimentSettings:
    """300 epochs of two rounds of 30 steps and 400 student steps; 10 warm-up epochs of 20 rounds."""
    return tiny_settings(
        distillation={"epochs": 300, "steps_per_epoch": 400},
        generator_steps=30,
        warm_up_epochs=10,
        warm_up_rounds=20,
        rounds_per_epoch=2,
        reset_generator_every=30,
    )


def test_a_cost_by_hand() -> None:
    lengths = Lengths(
        epochs=7, steps_per_epoch=11, warm_up_epochs=2, warm_up_rounds=3, rounds_per_epoch=2, round_steps=5
    )
    cost = cost_of(lengths, BANKED)
    assert cost.warm_up == 5 + 2 * 3 * (1 + 5 * 2)
    assert cost.synthesis == 7 * (2 * (3 + 5 * 4) + 11 * 6)
    assert cost.distillation == 7 * 11 * 10
    assert cost.total == cost.warm_up + cost.synthesis + cost.distillation
    assert cost.warm_up_share == cost.warm_up / cost.total


def test_a_turn_that_was_begun_is_finished() -> None:
    parts = PartCosts(round=100, sample=1, step=10, steps_per_turn=5)
    cost = cost_of(Lengths(epochs=2, steps_per_epoch=11), parts)
    assert cost.distillation == 2 * 15 * 10
    assert cost.synthesis == 2 * (3 * 100 + 15 * 1)


def test_a_memory_that_fills_adds_to_every_round_until_it_is_full() -> None:
    parts = PartCosts(round=0, sample=0, step=0, round_step_growth=1, round_step_growth_squared=10, growing_rounds=2)
    lengths = Lengths(epochs=5, steps_per_epoch=1, rounds_per_epoch=1, round_steps=3)
    former = (0, 1, 2, 2, 2)
    assert cost_of(lengths, parts).synthesis == 3 * sum(k + 10 * k**2 for k in former)
    warm = dataclasses.replace(lengths, epochs=3, warm_up_epochs=1, warm_up_rounds=2)
    assert cost_of(warm, parts).total == cost_of(lengths, parts).total
    assert cost_of(warm, parts).warm_up == 3 * 11


@pytest.mark.parametrize("budget", [5e4, 3e5, 1e6, 7e6])
def test_a_run_costs_what_its_budget_allows(banked: ExperimentSettings, budget: float) -> None:
    scaled = scale_to_budget(banked, BANKED, budget)
    assert 0.95 * budget < scaled.cost.total <= budget
    assert scaled.cost == cost_of(lengths_of(scaled.settings), BANKED)
    assert scaled.cost.warm_up_share <= WARM_UP_SHARE


def test_every_length_is_multiplied_alike(banked: ExperimentSettings) -> None:
    cheap_warm_up = dataclasses.replace(BANKED, warm_up_round=0.1, warm_up_round_step=0.1)
    whole = lengths_of(banked)
    scaled = scale_to_budget(banked, cheap_warm_up, cost_of(whole, cheap_warm_up).total / 3)
    lengths = lengths_of(scaled.settings)
    assert (lengths.epochs, lengths.rounds_per_epoch, lengths.round_steps) == (100, 2, 30)
    assert lengths.all_warm_up_rounds == pytest.approx(200 / 3, abs=4)
    assert lengths.steps_per_epoch == pytest.approx(400, abs=4)
    assert scaled.factor == pytest.approx(1 / 3, abs=0.005)
    assert scaled.settings.synthesis.batch_size == banked.synthesis.batch_size  # type: ignore[union-attr]


def test_the_same_budget_gives_back_the_same_run(banked: ExperimentSettings) -> None:
    cheap_warm_up = dataclasses.replace(BANKED, warm_up_round=0.1, warm_up_round_step=0.1)
    scaled = scale_to_budget(banked, cheap_warm_up, cost_of(lengths_of(banked), cheap_warm_up).total)
    assert lengths_of(scaled.settings) == lengths_of(banked)


def test_a_short_run_has_twenty_shorter_epochs(banked: ExperimentSettings) -> None:
    scaled = scale_to_budget(banked, BANKED, 8.5e4)  # about 12 epochs' worth
    lengths = lengths_of(scaled.settings)
    assert 0.03 < scaled.factor < 0.06
    assert MIN_EPOCHS <= lengths.epochs < 2 * MIN_EPOCHS and lengths.rounds_per_epoch == 1
    assert lengths.round_steps == 30
    total = lengths.epochs * lengths.steps_per_epoch
    assert total == pytest.approx(scaled.factor * 300 * 400, rel=0.05)


def test_rounds_are_shortened_where_fewer_than_twenty_would_fit(banked: ExperimentSettings) -> None:
    scaled = scale_to_budget(banked, BANKED, 5e4)
    lengths = lengths_of(scaled.settings)
    assert (lengths.epochs, lengths.rounds_per_epoch) == (MIN_EPOCHS, 1)
    assert MIN_ROUND_STEPS <= lengths.round_steps < 30
    assert any(f"rounds of {lengths.round_steps} steps, not 30" in note for note in scaled.notes)


def test_a_warm_up_that_is_too_long_is_cut_and_says_so(banked: ExperimentSettings) -> None:
    dear = dataclasses.replace(BANKED, warm_up_round_step=200)
    scaled = scale_to_budget(banked, dear, 3e6)
    assert 0.1 < scaled.cost.warm_up_share <= WARM_UP_SHARE
    assert any(note.startswith("warm-up cut from") for note in scaled.notes)


def test_what_happens_every_few_epochs_happens_as_often(banked: ExperimentSettings) -> None:
    settings = scale_to_budget(banked, BANKED, 1.5e6).settings
    resets = settings.distillation.epochs / settings.synthesis.reset_generator_every  # type: ignore[union-attr]
    assert resets == pytest.approx(300 / 30, rel=0.15)
    never = dataclasses.replace(banked, synthesis=dataclasses.replace(banked.synthesis, reset_generator_every=0))
    assert scale_to_budget(never, BANKED, 1.5e6).settings.synthesis.reset_generator_every == 0  # type: ignore[union-attr]


def test_a_run_is_checkpointed_eight_times(banked: ExperimentSettings) -> None:
    settings = scale_to_budget(banked, BANKED, 7e6).settings
    assert settings.total_epochs // settings.distillation.checkpoint_every == 8


def test_epochs_of_a_method_without_rounds_stay_few(tiny_settings: Settings) -> None:
    settings = dataclasses.replace(tiny_settings(), synthesis=RandomNoiseSettings())
    scaled = scale_to_budget(settings, PartCosts(round=0, sample=0, step=1), 1e5)
    assert scaled.settings.distillation.epochs == MAX_EPOCHS
    assert scaled.cost.total > 0.99e5


def test_whole_turns_leave_little_of_a_budget(tiny_settings: Settings) -> None:
    settings = dataclasses.replace(
        tiny_settings(distillation={"epochs": 400, "steps_per_epoch": 360}), synthesis=DfqSettings()
    )
    parts = PartCosts(round=100, sample=1, step=10, steps_per_turn=10)
    scaled = scale_to_budget(settings, parts, 29 * (100 + 110))
    assert scaled.settings.distillation.epochs == 29  # of one turn each, where 20 would leave a third


def test_a_start_that_cannot_be_cut_is_told(tiny_settings: Settings) -> None:
    settings = dataclasses.replace(tiny_settings(), synthesis=DaflSettings())
    parts = PartCosts(start=500, round=1, sample=0, step=1, steps_per_turn=1)
    notes = scale_to_budget(settings, parts, 1000).notes
    assert any(note.endswith("of the cost come before the student learns, and cannot be cut") for note in notes)


def test_a_budget_that_pays_too_little_says_what_is_needed(banked: ExperimentSettings) -> None:
    with pytest.raises(ValueError, match="does not pay the shortest run, 20 epochs with one student step and one rou"):
        scale_to_budget(banked, BANKED, 100)

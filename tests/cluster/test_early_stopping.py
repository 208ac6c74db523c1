from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from dfkd.cluster.trial import TrialPlan
from dfkd.cluster.tuner import Objective, make_scheduler
from dfkd.search.space import SearchSpace
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import to_dict
from dfkd.settings.search import (
    CategoricalChoices,
    EarlyStoppingSettings,
    IntegerRange,
    ParameterRange,
    SearchSettings,
    UniformRange,
)

Make = Callable[..., ExperimentSettings]
RATE, EPOCHS, WARM_UP = "distillation.learning_rate", "distillation.epochs", "synthesis.warm_up_epochs"
RATES: dict[str, ParameterRange] = {RATE: UniformRange(low=0.1, high=0.3)}  # the default is 0.2
METRIC = "probe/agreement"


class Phase:
    """Trials in front of the scheduler, each given as what it reports after every epoch."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.count = 0

    def epochs_of(self, params: dict[str, Any], value: float, *, total: int, start: int = 0) -> int:
        """Return after how many epochs, warm-up included, a trial ends that begins, or goes on, at ``start``."""
        self.count += 1
        trial = SimpleNamespace(trial_id=str(self.count), config=params)
        self.scheduler.on_trial_add(None, trial)
        for epoch in range(start, total):
            if self.scheduler.on_trial_result(None, trial, {"epoch": epoch, METRIC: value}) == "STOP":
                self.scheduler.on_trial_complete(None, trial, {"epoch": epoch, METRIC: value})
                return epoch + 1
        self.scheduler.on_trial_complete(None, trial, {"epoch": total - 1, METRIC: value})
        return total


@pytest.fixture
def phase(tiny_settings: Make) -> Callable[..., Phase]:
    """Make the early stopping of a search: 9 epochs after 2 of warm-up, one in two goes on, from 3 epochs on."""

    def make(
        parameters: dict[str, ParameterRange] = RATES, *, grace: int = 3, mode: str = "max", earlier: Any = ()
    ) -> Phase:
        settings = tiny_settings(warm_up_epochs=2, distillation={"epochs": 9, "learning_rate": 0.2})
        search = SearchSettings(
            name="a",
            experiment=to_dict(settings),
            parameters=parameters,
            trials=8,
            early_stopping=EarlyStoppingSettings(grace_epochs=grace, reduction_factor=2),
        )
        plan = TrialPlan(space=SearchSpace(settings=search, where="a test"), storage="/s", workers=1, image_every=0)
        return Phase(make_scheduler(plan, Objective(metric=METRIC, mode=mode), earlier))

    return make


def test_no_trial_stops_in_its_warm_up_or_its_grace_epochs(phase: Callable[..., Phase]) -> None:
    trials = phase()
    assert trials.epochs_of({RATE: 0.1}, 0.9, total=11) == 11
    assert trials.epochs_of({RATE: 0.3}, 0.1, total=11) == 2 + 3
    assert trials.epochs_of({RATE: 0.15}, 0.95, total=11) == 11


def test_smaller_is_better_where_the_objective_says_so(phase: Callable[..., Phase]) -> None:
    trials = phase(mode="min")
    assert trials.epochs_of({RATE: 0.1}, 0.1, total=11) == 11
    assert trials.epochs_of({RATE: 0.3}, 0.9, total=11) == 2 + 3


def test_the_default_settings_run_to_their_end_and_are_compared_with(phase: Callable[..., Phase]) -> None:
    trials = phase()
    assert trials.epochs_of({RATE: 0.1}, 0.9, total=11) == 11
    assert trials.epochs_of({RATE: 0.2}, 0.5, total=11) == 11
    assert trials.epochs_of({RATE: 0.3}, 0.4, total=11) == 2 + 3
    alone = phase()
    assert alone.epochs_of({RATE: 0.2}, 0.9, total=11) == 11
    assert alone.epochs_of({RATE: 0.3}, 0.4, total=11) == 2 + 3


def test_each_trial_is_judged_after_its_own_warm_up(phase: Callable[..., Phase]) -> None:
    trials = phase(RATES | {WARM_UP: IntegerRange(low=0, high=5)})
    assert trials.epochs_of({RATE: 0.1, WARM_UP: 5}, 0.9, total=14) == 14
    assert trials.epochs_of({RATE: 0.3, WARM_UP: 0}, 0.1, total=9) == 3
    assert trials.epochs_of({RATE: 0.3, WARM_UP: 5}, 0.1, total=14) == 5 + 3


def test_long_trials_of_a_searched_length_run_to_their_end(phase: Callable[..., Phase]) -> None:
    trials = phase(RATES | {EPOCHS: CategoricalChoices(choices=(9, 40))})
    assert trials.epochs_of({RATE: 0.1, EPOCHS: 40}, 0.9, total=42) == 42
    assert trials.epochs_of({RATE: 0.3, EPOCHS: 40}, 0.91, total=42) == 42


def test_a_grace_longer_than_the_trials_stops_none(phase: Callable[..., Phase]) -> None:
    trials = phase(grace=50)
    assert trials.epochs_of({RATE: 0.1}, 0.9, total=11) == 11
    assert trials.epochs_of({RATE: 0.3}, 0.1, total=11) == 11


def test_the_report_of_a_failure_is_no_value(phase: Callable[..., Phase]) -> None:
    trials = phase()
    trial = SimpleNamespace(trial_id="a", config={RATE: 0.1})
    trials.scheduler.on_trial_add(None, trial)
    failure = {"failure": "a loss is nan", METRIC: float("nan")}
    assert trials.scheduler.on_trial_result(None, trial, failure) == "CONTINUE"


def test_a_search_that_goes_on_stops_whom_it_would_have_stopped(phase: Callable[..., Phase]) -> None:
    earlier = [({RATE: 0.1}, dict.fromkeys(range(11), 0.9)), ({RATE: 0.15}, dict.fromkeys(range(8), 0.8))]
    assert phase().epochs_of({RATE: 0.3}, 0.1, total=11) == 11  # nothing to compare it with
    assert phase(earlier=earlier).epochs_of({RATE: 0.3}, 0.1, total=11) == 2 + 3


def test_a_trial_that_goes_on_is_no_measure_for_the_beginning_of_others(phase: Callable[..., Phase]) -> None:
    earlier = [({RATE: 0.1}, {epoch: epoch / 10 for epoch in range(9)})]
    trials = phase(earlier=earlier)
    assert trials.epochs_of({RATE: 0.1}, 0.9, total=11, start=8) == 11
    # After its 3rd student epoch it had 0.4, which 0.5 beats; after its 6th 0.7, which ends 0.5.
    assert trials.epochs_of({RATE: 0.3}, 0.5, total=11) == 2 + 6


def test_a_search_without_it_has_none(tiny_settings: Make) -> None:
    search = SearchSettings(name="a", experiment=to_dict(tiny_settings()), parameters=RATES, trials=8)
    plan = TrialPlan(space=SearchSpace(settings=search, where="a test"), storage="/s", workers=1, image_every=0)
    assert make_scheduler(plan, Objective(metric=METRIC, mode="max")) is None

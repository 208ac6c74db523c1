import math
from random import Random
from typing import Any

import pytest

from dfkd.search.selection import TrialScore, binomial_margin, choose, estimate_tie_margin, repeat_margin
from dfkd.settings.search import ObjectiveSettings


def trial(key: str, objective: float | None, **changes: Any) -> TrialScore:
    values: dict[str, Any] = {"params": {}, "is_default": False, "completed": True, "kd_loss": None}
    return TrialScore(**{**values, "key": key, "objective": objective, **changes})


def test_the_best_objective_is_chosen_in_its_direction() -> None:
    trials = [trial("a", 0.7), trial("b", 0.9), trial("c", 0.8)]
    assert choose(trials, "maximize").key == "b"
    assert choose(trials, "minimize").key == "a"


def test_what_failed_or_was_stopped_early_is_never_chosen() -> None:
    trials = [
        trial("stopped", 0.99, completed=False),
        trial("failed", None),
        trial("nan", math.nan),
        trial("infinite", math.inf),
        trial("whole", 0.2),
    ]
    assert choose(trials, "maximize").key == "whole"
    with pytest.raises(ValueError, match="at least one trial that ran to its end, got none of 4"):
        choose(trials[:-1], "maximize")


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_ties_go_to_the_default_and_only_to_it(direction: Any) -> None:
    sign = 1 if direction == "maximize" else -1
    default, near, best = trial("d", sign * 0.50, is_default=True), trial("n", sign * 0.515), trial("b", sign * 0.52)
    assert choose([near, default, best], direction, 0.03).key == "d"
    assert choose([near, default, best], direction, 0.01).key == "b"
    assert choose([near, best], direction, 0.03).key == "b"


def test_differences_of_exactly_the_margin_are_no_ties_but_equal_objectives_are() -> None:
    assert choose([trial("b", 0.75), trial("d", 0.5, is_default=True)], "maximize", 0.25).key == "b"
    assert choose([trial("b", 0.75), trial("d", 0.75, is_default=True)], "maximize", 0.0).key == "d"


def test_a_default_that_did_not_complete_wins_no_tie() -> None:
    trials = [trial("d", 0.9, is_default=True, completed=False), trial("b", 0.9)]
    assert choose(trials, "maximize", 0.1).key == "b"


def test_binomial_margin_is_that_of_a_difference_of_two_counts() -> None:
    assert binomial_margin(0.9, 900) == pytest.approx(1.96 * math.sqrt(2) * 0.01)
    assert binomial_margin(1.0, 10) == 0.0
    for objective, num_images in ((1.1, 10), (-0.1, 10), (math.nan, 10), (0.5, 0)):
        with pytest.raises(ValueError):
            binomial_margin(objective, num_images)


def test_repeat_margin_is_that_of_a_difference_of_two_runs() -> None:
    assert repeat_margin([0.5, 0.6]) == pytest.approx(1.96 * 0.1)  # s = 0.1 / sqrt 2
    assert repeat_margin([0.5, 0.5, 0.5]) == 0.0
    with pytest.raises(ValueError, match="at least 2 runs"):
        repeat_margin([0.5])


def test_margins_are_exceeded_by_chance_as_often_as_they_say() -> None:
    random, tries = Random(0), 10_000

    def exceeded(repeats: int) -> float:
        margins = (repeat_margin([random.gauss(0, 1) for _ in range(repeats)]) for _ in range(tries))
        return sum(abs(random.gauss(0, 1) - random.gauss(0, 1)) > margin for margin in margins) / tries

    for repeats, share in ((2, 0.30), (3, 0.19), (5, 0.12)):
        assert exceeded(repeats) == pytest.approx(share, abs=0.02)
    counts = [sum(random.random() < 0.9 for _ in range(400)) / 400 for _ in range(4000)]
    pairs = zip(counts[::2], counts[1::2], strict=True)
    differ = [abs(one - other) > binomial_margin(0.9, 400) for one, other in pairs]
    assert sum(differ) / len(differ) == pytest.approx(0.05, abs=0.015)


def test_a_spread_over_few_seeds_is_called_rough() -> None:
    for repeats, rough in ((2, True), (4, True), (5, False)):
        values = [0.1 * value for value in range(repeats)]
        margin = estimate_tie_margin(ObjectiveSettings(metric="kl"), best=3.0, num_images=9, repeats=values)
        assert f"over {repeats} seeds" in margin.source
        assert margin.source.endswith(", a rough figure from so few") is rough


def test_the_configured_margin_wins() -> None:
    margin = estimate_tie_margin(ObjectiveSettings(), best=0.9, num_images=900, repeats=[0.1, 0.9], configured=0.0)
    assert (margin.value, margin.source) == (0.0, "as configured")
    changed = ("distillation.epochs",)
    margin = estimate_tie_margin(ObjectiveSettings(), best=0.9, num_images=900, configured=0.1, changed=changed)
    assert margin.source == "as configured for other settings: --set changed distillation.epochs"


def test_repeats_count_where_they_show_more_noise_than_the_probe() -> None:
    wide = estimate_tie_margin(ObjectiveSettings(), best=0.9, num_images=900, repeats=[0.8, 0.9])
    narrow = estimate_tie_margin(ObjectiveSettings(), best=0.9, num_images=900, repeats=[0.9, 0.9])
    assert wide.value == pytest.approx(0.196) and "2 seeds" in wide.source
    assert narrow.value == pytest.approx(0.0277, abs=1e-4) and "lower bound" in narrow.source


def test_an_objective_that_is_no_share_has_no_margin_without_repeats() -> None:
    assert estimate_tie_margin(ObjectiveSettings(metric="kl"), best=3.0, num_images=900).value == 0.0
    margin = estimate_tie_margin(ObjectiveSettings(metric="kl"), best=3.0, num_images=900, repeats=[3.0, 3.1])
    assert margin.value == pytest.approx(0.196)

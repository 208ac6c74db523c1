import random
from typing import Any

import pytest

from dfkd.search.selection import TrialScore, choose
from dfkd.search.trust import rank_correlation, spearman, trust_report


def trial(key: int, objective: float | None, validation: float | None, **changes: Any) -> TrialScore:
    values: dict[str, Any] = {"params": {}, "is_default": False, "completed": True, "kd_loss": None}
    return TrialScore(**{**values, "key": str(key), "objective": objective, "validation": validation, **changes})


def twelve_trials() -> list[TrialScore]:
    """Validation 0.50 to 0.61; the objective agrees but for one exchange; trial 3 is the default."""
    return [
        trial(n, [*range(10), 11, 10][n] / 100, 0.5 + n / 100, is_default=n == 3, kd_loss=abs(n - 5.1))
        for n in range(12)
    ]


def test_regrets_are_differences_to_the_best_validation_score() -> None:
    trials = twelve_trials()
    report = trust_report(trials, choose(trials, "maximize"), "maximize")
    assert report.best_validation == pytest.approx(0.61)
    assert report.regret_chosen == pytest.approx(0.01)  # trial 10 has the best objective
    assert report.regret_default == pytest.approx(0.08)
    assert report.regret_random == pytest.approx(0.055)
    assert report.regret_kd_loss == pytest.approx(0.06)  # trial 5


def test_collapsed_trials_make_a_random_pick_look_bad_and_are_left_out_beside_it() -> None:
    trials = [trial(n, n / 10, 0.5 + n / 100) for n in range(3)] + [trial(9, 0.0, 0.1, collapsed=True)]
    report = trust_report(trials, choose(trials, "maximize"), "maximize")
    assert report.regret_random == pytest.approx(0.52 - 1.63 / 4)
    assert report.regret_random_without_collapsed == pytest.approx(0.01)
    assert "| the same without collapsed trials | 1.00 points |" in report.to_markdown()
    nobody = trust_report(trials[3:], trials[3], "maximize")
    assert nobody.regret_random_without_collapsed is None


def test_an_objective_that_is_minimised_correlates_the_right_way_round() -> None:
    trials = [trial(n, -n / 10, n / 20) for n in range(12)]
    assert trust_report(trials, trials[-1], "minimize").correlation.rho == pytest.approx(1.0)
    assert trust_report(trials, trials[0], "maximize").correlation.rho == pytest.approx(-1.0)


def test_trials_without_a_result_are_not_compared() -> None:
    trials = twelve_trials()
    others = [
        trial(20, None, 0.99),
        trial(21, 0.5, None),
        trial(22, 0.5, 0.99, completed=False),
        trial(23, float("nan"), 0.99),
        trial(24, 0.5, float("nan")),
    ]
    assert trust_report([*trials, *others], trials[0], "maximize") == trust_report(trials, trials[0], "maximize")


def test_a_pick_whose_score_is_no_number_has_no_regret() -> None:
    trials = twelve_trials()
    odd = trial(20, 0.99, float("nan"))
    report = trust_report([*trials, odd], odd, "maximize")
    assert report.regret_chosen is None and "regret_chosen" not in report.numbers()
    assert report.best_validation == pytest.approx(0.61)


def test_collapsed_trials_can_make_up_the_whole_correlation() -> None:
    generator = random.Random(0)
    upright = [trial(n, 0.9 + generator.random() / 100, 0.9 + generator.random() / 100) for n in range(10)]
    collapsed = [trial(20 + n, 0.1 + n / 100, 0.1 + n / 100, collapsed=True) for n in range(10)]
    report = trust_report([*upright, *collapsed], upright[0], "maximize")
    assert (report.num_trials, report.num_collapsed) == (20, 10)
    assert report.correlation.rho is not None and report.correlation_without_collapsed.rho is not None
    assert report.correlation.rho > 0.7 > report.correlation_without_collapsed.rho
    assert report.correlation_without_collapsed.num_trials == 10


def test_under_ten_comparable_trials_the_report_is_not_informative_and_says_so() -> None:
    trials = twelve_trials()[:9]
    report = trust_report(trials, trials[-1], "maximize")
    assert not report.informative
    text = report.to_markdown()
    assert "not informative, 10 needed. 9 comparable trials" in text
    assert "not informative (n = 9, needs 10)" in text


def test_without_labels_the_report_says_that_it_cannot_tell() -> None:
    trials = [trial(n, n / 20, None) for n in range(12)]
    report = trust_report(trials, trials[-1], "maximize")
    assert not report.informative and report.best_validation is None and report.regret_chosen is None
    assert "not informative, no trial has a labelled score" in report.to_markdown()


def test_the_table_names_both_scores_and_gives_regrets_in_points() -> None:
    trials = twelve_trials()
    report = trust_report(
        trials, trials[10], "maximize", objective_name="kl", validation_name="validation balanced accuracy"
    )
    text = report.to_markdown()
    assert report.informative and "not informative" not in text
    assert "| kl against validation balanced accuracy | |" in text
    assert "| regret of the choice by kl | 1.00 points |" in text
    assert "| rank correlation (Spearman) | 0.99, 95 % [" in text and "n = 12" in text


def test_spearman_is_scipys_also_with_ties() -> None:
    from scipy.stats import spearmanr

    generator = random.Random(1)
    first = [generator.randint(0, 5) for _ in range(30)]
    second = [value + generator.randint(0, 5) for value in first]
    assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)


def test_a_constant_score_has_no_correlation() -> None:
    correlation = rank_correlation([0.5] * 12, [float(n) for n in range(12)])
    assert correlation.rho is None and not correlation.informative
    assert str(correlation) == "not informative (n = 12, all scores equal)"


def test_the_interval_is_narrower_with_more_trials_and_the_same_at_every_call() -> None:
    generator = random.Random(2)

    def width(num_trials: int) -> float:
        first = [generator.random() for _ in range(num_trials)]
        correlation = rank_correlation(first, [value + generator.random() for value in first])
        assert correlation.rho is not None and correlation.low is not None and correlation.high is not None
        assert correlation.low < correlation.rho < correlation.high
        return correlation.high - correlation.low

    assert width(100) < width(12)
    scores = [float(n * n % 7) for n in range(12)]
    assert rank_correlation(scores, scores[::-1]) == rank_correlation(scores, scores[::-1])

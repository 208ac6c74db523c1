from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dfkd.comparison.statistics import (
    detectable_effect,
    holm,
    mean_interval,
    paired_difference,
    power,
    ratio_interval,
)

OURS, THEIRS = [0.91, 0.88, 0.93, 0.90, 0.87], [0.90, 0.89, 0.90, 0.86, 0.85]


def test_an_interval_is_students() -> None:
    interval = mean_interval(OURS)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(OURS), scale=stats.sem(OURS))
    assert (interval.n, interval.mean) == (5, pytest.approx(np.mean(OURS)))
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high))


def test_an_interval_by_hand() -> None:
    interval = mean_interval([1.0, 2.0, 3.0])  # s = 1, t(0.975, 2) = 4.3027
    assert interval.half_width == pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)


@pytest.mark.parametrize(("values", "mean"), [([], math.nan), ([0.5], 0.5)])
def test_fewer_than_two_values_have_no_interval(values: list[float], mean: float) -> None:
    interval = mean_interval(values)
    assert interval.mean == pytest.approx(mean, nan_ok=True)
    assert math.isnan(interval.half_width) and math.isnan(interval.low)


def test_a_paired_difference_is_scipys_paired_t_test() -> None:
    difference = paired_difference(OURS, THEIRS)
    expected = stats.ttest_rel(OURS, THEIRS)
    assert difference.p_value == pytest.approx(expected.pvalue)
    assert difference.interval.low == pytest.approx(expected.confidence_interval(0.95).low)
    assert difference.interval.mean == pytest.approx(np.mean(OURS) - np.mean(THEIRS))


def test_pairing_sees_what_two_means_do_not() -> None:
    wide = [0.5, 0.6, 0.7, 0.8]
    better = [value + 0.01 + noise for value, noise in zip(wide, (0.001, -0.001, 0.0, 0.001), strict=True)]
    assert paired_difference(better, wide).p_value < 0.001
    assert stats.ttest_ind(better, wide).pvalue > 0.5


@pytest.mark.parametrize(("shift", "p_value"), [(0.0, 1.0), (0.5, 0.0)])
def test_differences_without_spread(shift: float, p_value: float) -> None:
    difference = paired_difference([1.0 + shift, 2.0 + shift], [1.0, 2.0])
    assert (difference.p_value, difference.detectable) == (p_value, 0.0)


def test_one_pair_has_a_difference_and_no_p_value() -> None:
    difference = paired_difference([0.9], [0.8])
    assert difference.interval.mean == pytest.approx(0.1)
    assert math.isnan(difference.p_value) and math.isnan(difference.detectable)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_is_at_most_one_keeps_order_and_skips_what_is_not_a_number() -> None:
    corrected = holm([0.9, math.nan, 0.5])
    assert corrected[0] == corrected[2] == 1.0 and math.isnan(corrected[1])
    assert holm([]) == []


@pytest.mark.parametrize(("effect", "n"), [(1.0, 10), (0.6, 25), (2.0, 5)])
def test_power_is_that_of_the_noncentral_t(effect: float, n: int) -> None:
    quantile, shift = stats.t.ppf(0.975, n - 1), effect * math.sqrt(n)
    expected = stats.nct.sf(quantile, n - 1, shift) + stats.nct.cdf(-quantile, n - 1, shift)
    assert power(effect, n) == pytest.approx(expected, abs=1e-6)


def test_power_without_an_effect_is_the_level() -> None:
    assert power(0.0, 5) == pytest.approx(0.05, abs=1e-6)


def test_the_detectable_effect_is_found_in_80_percent_of_experiments() -> None:
    effect = detectable_effect(2.0, 5)
    drawn = np.random.default_rng(0).normal(effect, 2.0, (20_000, 5))
    found = stats.ttest_1samp(drawn, 0.0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.01)


def test_more_pairs_detect_less() -> None:
    assert detectable_effect(1.0, 2) > detectable_effect(1.0, 5) > detectable_effect(1.0, 10)


def test_a_ratio_is_geometric_and_the_references_over_the_rows() -> None:
    ratio, low, high = ratio_interval([1.0, 4.0], [4.0, 4.0])
    assert ratio == pytest.approx(2.0)
    assert low * high == pytest.approx(ratio**2)

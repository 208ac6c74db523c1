"""Statistics of few runs: intervals, paired differences, Holm's correction, and the effect that could be seen."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import integrate, optimize, special, stats

CONFIDENCE = 0.95
POWER = 0.8
MIN_PAIRS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A mean with its 95 % t-interval.

    Attributes:
        n: number of values.
        mean: NaN for none.
        deviation: standard deviation of one value; NaN for fewer than two.
        half_width: of the interval; NaN for fewer than two.
    """

    n: int
    mean: float
    deviation: float
    half_width: float

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half_width


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedDifference:
    """How values differ from a reference's, pair by pair.

    Attributes:
        interval: of the differences.
        p_value: two-sided, of the paired t-test; 1 where all pairs are equal, NaN for fewer than two.
        detectable: the smallest true difference that this many pairs of this spread would show in 80 % of all
            experiments at the 5 % level, uncorrected.
    """

    interval: Interval
    p_value: float
    detectable: float


def mean_interval(values: Sequence[float]) -> Interval:
    """Return mean and 95 % t-interval: ``mean +- t(0.975, n - 1) s / sqrt(n)``."""
    n = len(values)
    if n < MIN_PAIRS:
        return Interval(n=n, mean=values[0] if values else math.nan, deviation=math.nan, half_width=math.nan)
    deviation = statistics.stdev(values)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
    return Interval(
        n=n, mean=statistics.fmean(values), deviation=deviation, half_width=quantile * deviation / math.sqrt(n)
    )


def paired_difference(values: Sequence[float], reference: Sequence[float]) -> PairedDifference:
    """Return how ``values`` differ from ``reference``, each from the one at the same place.

    Raises:
        ValueError: they are not equally many.
    """
    differences = [value - other for value, other in zip(values, reference, strict=True)]
    interval = mean_interval(differences)
    if interval.n < MIN_PAIRS:
        return PairedDifference(interval=interval, p_value=math.nan, detectable=math.nan)
    error = interval.deviation / math.sqrt(interval.n)
    if error == 0:
        return PairedDifference(interval=interval, p_value=1.0 if interval.mean == 0 else 0.0, detectable=0.0)
    p_value = 2 * float(stats.t.sf(abs(interval.mean) / error, interval.n - 1))
    return PairedDifference(
        interval=interval, p_value=p_value, detectable=detectable_effect(interval.deviation, interval.n)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values corrected for being several, in their own order; NaN stays and is not counted.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 1979. The
    k-th smallest of m is multiplied by m - k + 1, is at least as large as the ones before it, and at most 1.
    """
    corrected = list(p_values)
    order = sorted((index for index, p in enumerate(p_values) if not math.isnan(p)), key=lambda index: p_values[index])
    largest = 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * p_values[index]))
        corrected[index] = largest
    return corrected


def detectable_effect(deviation: float, n: int) -> float:
    """Return the true mean difference that a two-sided paired t-test at 5 % finds with a power of 80 %.

    Args:
        deviation: standard deviation of a pair's difference.
        n: number of pairs, at least two.
    """
    return deviation * _detectable_in_deviations(n)


@functools.cache
def _detectable_in_deviations(n: int) -> float:
    high = 1.0
    while power(high, n) < POWER:
        high *= 2
    return float(optimize.brentq(lambda effect: power(effect, n) - POWER, 0.0, high))


def power(effect: float, n: int) -> float:
    """Return how often a two-sided paired t-test at 5 % finds a true difference.

    With the sample's spread s, a chi variable of n - 1 degrees of freedom over the root of those, it is found if the
    standardised mean, normal around ``effect sqrt(n)``, lies beyond ``+-t s``; that is integrated over s. (scipy 1.17's
    noncentral t is NaN where n is small.)

    Args:
        effect: in standard deviations of a pair's difference.
        n: number of pairs, at least two.
    """
    freedom, shift = n - 1, effect * math.sqrt(n)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))

    def density(chi: float) -> float:
        threshold = quantile * chi / math.sqrt(freedom)
        found = special.ndtr(shift - threshold) + special.ndtr(-shift - threshold)
        return float(stats.chi.pdf(chi, freedom) * found)

    found, _ = integrate.quad(density, 0, math.sqrt(freedom) + 10, limit=200)
    return float(found)


def ratio_interval(values: Sequence[float], reference: Sequence[float]) -> tuple[float, float, float]:
    """Return the geometric mean of ``reference / value``, pair by pair, and the ends of its 95 % t-interval.

    Above 1: less of what is measured than the reference needs. All numbers must be above 0.
    """
    logarithms = [math.log(other / value) for value, other in zip(values, reference, strict=True)]
    interval = mean_interval(logarithms)
    return math.exp(interval.mean), math.exp(interval.low), math.exp(interval.high)

"""How far a choice without labels can be trusted: computed where labels exist, for those who have none.

Nothing here imports anything but the standard library.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from dfkd.search.selection import TrialScore, goodness
from dfkd.settings.search import Direction

MIN_TRIALS = 10  # comparable trials below which a rank correlation says nothing
_RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class RankCorrelation:
    """Spearman's rho with its 95 % bootstrap interval.

    Attributes:
        num_trials: n, the trials it is computed on.
        rho: in [-1, 1]; None where one side is constant or n is below 2.
        low: 2.5 % percentile over resampled trials; None as rho, or where too few resamples have one.
        high: 97.5 % percentile.
    """

    num_trials: int
    rho: float | None
    low: float | None
    high: float | None

    @property
    def informative(self) -> bool:
        """Whether there are enough trials, and they differ."""
        return self.num_trials >= MIN_TRIALS and self.rho is not None

    def __str__(self) -> str:
        """Return rho, its interval and n, or "not informative" with the reason."""
        if self.num_trials < MIN_TRIALS:
            return f"not informative (n = {self.num_trials}, needs {MIN_TRIALS})"
        if self.rho is None:
            return f"not informative (n = {self.num_trials}, all scores equal)"
        interval = "no interval" if self.low is None else f"95 % [{self.low:.2f}, {self.high:.2f}]"
        return f"{self.rho:.2f}, {interval}, n = {self.num_trials}"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustReport:
    """How good the choice by the objective was, in hindsight, by the labelled score.

    A regret is the best trial's validation score minus that of the pick, never negative; None where the pick has none.
    Comparable trials ran to their end and have both scores.

    Attributes:
        num_trials: comparable trials.
        num_collapsed: of these, students that (nearly) give one class.
        best_validation: of the comparable trials.
        regret_chosen: of the trial that the objective chose.
        regret_selected: of the trial that another objective chose and the search took; None where there is no other.
        regret_default: of the default settings.
        regret_random: of a uniformly random pick, expected.
        regret_random_without_collapsed: of one among the others, expected: collapsed students flatter the former.
        regret_kd_loss: of the trial with the lowest last KD loss.
        correlation: of objective and validation, both turned so that larger is better: 1 is a perfect objective.
        correlation_without_collapsed: the same without collapsed trials, which are easy to tell and flatter it.
        objective_name: as tables call it.
        validation_name: as tables call it.
    """

    num_trials: int
    num_collapsed: int
    best_validation: float | None
    regret_chosen: float | None
    regret_selected: float | None
    regret_default: float | None
    regret_random: float | None
    regret_random_without_collapsed: float | None
    regret_kd_loss: float | None
    correlation: RankCorrelation
    correlation_without_collapsed: RankCorrelation
    objective_name: str
    validation_name: str

    @property
    def informative(self) -> bool:
        """Whether there are enough comparable trials to say anything."""
        return self.num_trials >= MIN_TRIALS

    def numbers(self) -> dict[str, float]:
        """Return what the report is made of, by name, without what does not exist."""
        numbers = {
            "num_trials": self.num_trials,
            "num_collapsed": self.num_collapsed,
            "best_validation": self.best_validation,
            "regret_chosen": self.regret_chosen,
            "regret_selected": self.regret_selected,
            "regret_default": self.regret_default,
            "regret_random": self.regret_random,
            "regret_random_without_collapsed": self.regret_random_without_collapsed,
            "regret_kd_loss": self.regret_kd_loss,
        }
        for name, found in (("", self.correlation), ("_without_collapsed", self.correlation_without_collapsed)):
            if found.informative:
                numbers |= {f"rho{name}": found.rho, f"rho{name}_low": found.low, f"rho{name}_high": found.high}
        return {name: float(value) for name, value in numbers.items() if value is not None}

    def sentence(self) -> str:
        """Return the report in one line."""
        if self.best_validation is None:
            return "not informative: no trial has a labelled score"
        return (
            f"the choice by {self.objective_name} gave away {_points(self.regret_chosen)} of {self.validation_name}; "
            f"rank correlation {self.correlation}"
        )

    def to_markdown(self) -> str:
        """Return the report as a table with a sentence above it."""
        selected = [("regret of the choice that was made", _points(self.regret_selected))]
        rows = [
            (f"regret of the choice by {self.objective_name}", _points(self.regret_chosen)),
            *(selected if self.regret_selected is not None else []),
            ("regret of the default settings", _points(self.regret_default)),
            ("regret of a random pick (expected)", _points(self.regret_random)),
            ("the same without collapsed trials", _points(self.regret_random_without_collapsed)),
            ("regret of picking by the last KD loss", _points(self.regret_kd_loss)),
            ("rank correlation (Spearman)", str(self.correlation)),
            ("rank correlation without collapsed trials", str(self.correlation_without_collapsed)),
        ]
        table = [f"| {self.objective_name} against {self.validation_name} | |", "|---|---|"]
        return "\n".join([self._summary(), "", *table, *(f"| {name} | {value} |" for name, value in rows), ""])

    def _summary(self) -> str:
        if self.best_validation is None:
            return f"Trust in the choice by {self.objective_name}: not informative, no trial has a labelled score."
        found = (
            f"{self.num_trials} comparable trials, {self.num_collapsed} of them collapsed; "
            f"best {self.validation_name} {self.best_validation:.4f}."
        )
        if not self.informative:
            return f"Trust in the choice by {self.objective_name}: not informative, {MIN_TRIALS} needed. {found}"
        return f"Trust in the choice by {self.objective_name}: {found}"


def trust_report(
    trials: Sequence[TrialScore],
    chosen: TrialScore,
    direction: Direction,
    *,
    selected: TrialScore | None = None,
    objective_name: str = "agreement",
    validation_name: str = "validation accuracy",
) -> TrustReport:
    """Return how good a choice was by the trials' validation scores.

    Args:
        trials: of the search, whatever became of them.
        chosen: of ``choose``.
        direction: of the objective.
        selected: the trial that the search took, where another objective than this one decided.
        objective_name: as tables call it.
        validation_name: as tables call it.
    """
    comparable = [trial for trial in trials if trial.eligible and _is_finite(trial.validation)]
    scores = [_validation(trial) for trial in comparable]
    best = max(scores, default=None)

    def regret(validation: float | None) -> float | None:
        return None if best is None or validation is None or not math.isfinite(validation) else best - validation

    with_loss = [trial for trial in comparable if _is_finite(trial.kd_loss)]
    by_kd_loss = min(with_loss, key=lambda trial: trial.kd_loss or 0.0, default=None)
    default = next((trial for trial in comparable if trial.is_default), None)
    upright = [trial for trial in comparable if not trial.collapsed]
    return TrustReport(
        num_trials=len(comparable),
        num_collapsed=len(comparable) - len(upright),
        best_validation=best,
        regret_chosen=regret(chosen.validation),
        regret_selected=regret(selected.validation if selected else None),
        regret_default=regret(default.validation if default else None),
        regret_random=regret(statistics.fmean(scores) if scores else None),
        regret_random_without_collapsed=regret(
            statistics.fmean(_validation(trial) for trial in upright) if upright else None
        ),
        regret_kd_loss=regret(by_kd_loss.validation if by_kd_loss else None),
        correlation=_correlation(comparable, direction),
        correlation_without_collapsed=_correlation(upright, direction),
        objective_name=objective_name,
        validation_name=validation_name,
    )


def _correlation(trials: Sequence[TrialScore], direction: Direction) -> RankCorrelation:
    return rank_correlation([goodness(trial, direction) for trial in trials], [_validation(trial) for trial in trials])


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _validation(trial: TrialScore) -> float:
    assert trial.validation is not None
    return trial.validation


def rank_correlation(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> RankCorrelation:
    """Return Spearman's rho of two scores of the same trials, with a percentile bootstrap interval over trials.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    Args:
        first: one score a trial.
        second: the other score, in the same order.
        seed: of the resampling.
    """
    rho = spearman(first, second)
    generator = random.Random(seed)
    indices = range(len(first))
    resampled = []
    for _ in range(_RESAMPLES if rho is not None else 0):
        draw = generator.choices(indices, k=len(first))
        value = spearman([first[i] for i in draw], [second[i] for i in draw])
        if value is not None:  # a draw of equal values has no correlation
            resampled.append(value)
    if rho is None or len(resampled) < _RESAMPLES // 2:
        return RankCorrelation(num_trials=len(first), rho=rho, low=None, high=None)
    percentiles = statistics.quantiles(resampled, n=40, method="inclusive")  # in steps of 2.5 %
    return RankCorrelation(num_trials=len(first), rho=rho, low=percentiles[0], high=percentiles[-1])


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Pearson's correlation of the ranks (ties share their mean rank), or None where one side is constant."""
    if len(first) < 2 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    return statistics.correlation(_ranks(first), _ranks(second))


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    first_position: dict[float, int] = {}
    count: dict[float, int] = {}
    for position, value in enumerate(ordered):
        first_position.setdefault(value, position)
        count[value] = count.get(value, 0) + 1
    return [first_position[value] + (count[value] - 1) / 2 for value in values]


def _points(regret: float | None) -> str:
    return "-" if regret is None else f"{100 * regret:.2f} points"

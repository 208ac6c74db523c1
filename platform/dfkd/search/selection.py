"""Which trial is chosen: the best objective, except that differences within the noise are ties. No labels needed.

Nothing here imports anything but the standard library.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dfkd.settings.search import Direction, ObjectiveSettings, Scalar

MANY_REPEATS = 5  # from fewer, the spread over seeds is rough
_NORMAL_QUANTILE = 1.96  # two-sided 95 %


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialScore:
    """What is known of a trial at the end of a search.

    Attributes:
        key: names the trial.
        params: dotted path -> value.
        is_default: whether it ran the fixed part as it stands.
        completed: whether it ran all its epochs; what failed or was stopped early cannot be chosen.
        objective: None where the trial failed before it had one.
        kd_loss: the student's last KD loss.
        validation: the score on labelled real images (larger is better), where there are any.
        collapsed: whether the student gives (nearly) one class or agrees no better than 2 points above chance.
    """

    key: str
    params: Mapping[str, Scalar]
    is_default: bool
    completed: bool
    objective: float | None
    kd_loss: float | None
    validation: float | None = None
    collapsed: bool = False

    @property
    def eligible(self) -> bool:
        """Whether the trial can be chosen."""
        return self.completed and self.objective is not None and math.isfinite(self.objective)


@dataclass(frozen=True, kw_only=True, slots=True)
class TieMargin:
    """Objectives that differ by less are ties; ``source`` says in words where the value comes from."""

    value: float
    source: str


def goodness(trial: TrialScore, direction: Direction) -> float:
    """Return the objective of an eligible trial, turned so that larger is better."""
    assert trial.objective is not None
    return trial.objective if direction == "maximize" else -trial.objective


def choose(trials: Sequence[TrialScore], direction: Direction, tie_margin: float = 0.0) -> TrialScore:
    """Return the trial with the best objective; a default whose objective is as good as tied with it wins.

    Args:
        trials: in the order in which they ran; of equal ones the first is chosen.
        direction: of the objective.
        tie_margin: differences below are ties, and equal objectives always are.

    Raises:
        ValueError: no trial completed with a finite objective.
    """
    eligible = [trial for trial in trials if trial.eligible]
    if not eligible:
        raise ValueError(
            f"no student can be chosen: expected at least one trial that ran to its end, got none of {len(trials)}. "
            "Look at the first failed trial's error."
        )
    best = max(eligible, key=lambda trial: goodness(trial, direction))
    defaults = [trial for trial in eligible if trial.is_default]
    if not defaults:
        return best
    default = max(defaults, key=lambda trial: goodness(trial, direction))
    gap = goodness(best, direction) - goodness(default, direction)
    return default if gap == 0 or gap < tie_margin else best


def binomial_margin(objective: float, num_images: int) -> float:
    """Return by how much two equal shares, counted on n images each, differ at most in 95 % of cases.

    The normal approximation for two independent counts: 1.96 sqrt(2 p (1 - p) / n).

    This is the sampling noise of the probe alone. Another seed also changes generator, bank and student, so it is a
    lower bound of what repeats would show; at p = 0 or 1 it is 0. (On the same probe two students' errors overlap,
    which makes the noise of their difference smaller than that of two independent counts; we ignore this.)

    Args:
        objective: p, a share in [0, 1], such as the agreement.
        num_images: n, the size of the probe.

    Raises:
        ValueError: p is no share or n is below 1.
    """
    if not 0 <= objective <= 1:
        raise ValueError(f"objective: expected a share in [0, 1], got {objective!r}.")
    if num_images < 1:
        raise ValueError(f"num_images: expected at least 1, got {num_images!r}.")
    return _NORMAL_QUANTILE * math.sqrt(2 * objective * (1 - objective) / num_images)


def repeat_margin(repeats: Sequence[float]) -> float:
    """Return the difference of two runs of the same settings that counts as chance: 1.96 sqrt(2) s.

    s is the sample standard deviation of the repeats. Were it known exactly, two runs would differ by more in 5 % of
    cases; estimated from 2, 3 or 5 repeats, they do in 30, 19 or 12 %. Student's quantile in place of 1.96 would make
    up for that, but from two repeats it is 12.7, which would call nearly everything a tie. So few give a rough figure.

    Args:
        repeats: the objective of the default settings under at least two seeds.

    Raises:
        ValueError: there are fewer than two.
    """
    if len(repeats) < 2:
        raise ValueError(f"repeats: expected at least 2 runs of the same settings, got {len(repeats)}.")
    return _NORMAL_QUANTILE * math.sqrt(2) * statistics.stdev(repeats)


def estimate_tie_margin(
    objective: ObjectiveSettings,
    *,
    best: float,
    num_images: int,
    repeats: Sequence[float] = (),
    configured: float | None = None,
    changed: Sequence[str] = (),
) -> TieMargin:
    """Return the margin to use: the configured one, else from repeats, else from the size of the probe.

    Args:
        objective: of the search.
        best: the best trial's objective.
        num_images: that the objective is computed on.
        repeats: objectives of the default settings under different seeds, if they were run.
        configured: ``tie_margin`` of the search, which wins.
        changed: what the command line changed in the settings that it was configured for.
    """
    if configured is not None:
        other = f" for other settings: --set changed {', '.join(changed)}" if changed else ""
        return TieMargin(value=configured, source=f"as configured{other}")
    candidates = []
    if objective.metric in ("agreement", "agreement_real", "val_accuracy"):  # shares of equally weighted images
        source = f"sampling noise of {num_images} images, a lower bound of the seed noise"
        candidates.append(TieMargin(value=binomial_margin(best, num_images), source=source))
    if len(repeats) >= 2:
        rough = "" if len(repeats) >= MANY_REPEATS else ", a rough figure from so few"
        source = f"spread of the default settings over {len(repeats)} seeds{rough}"
        candidates.append(TieMargin(value=repeat_margin(repeats), source=source))
    if not candidates:
        source = f"unknown: '{objective.metric}' is no share of images, and the default settings ran only once"
        return TieMargin(value=0.0, source=source)
    return max(candidates, key=lambda candidate: candidate.value)

"""Settings of the acceptance of a student for use in place of its teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dfkd.settings.checks import check_at_least, check_fraction, check_positive, check_seed


@dataclass(frozen=True, kw_only=True, slots=True)
class AcceptanceSettings:
    """When a student may take its teacher's place, judged on a labelled set that neither has seen.

    The rule is non-inferiority: with ``confidence``, the student loses at most ``margin``. Limits that are None are
    reported and decide nothing.

    Source: Piaggio et al., Reporting of Noninferiority and Equivalence Randomized Trials, JAMA 2012, for the rule.
    """

    metric: Literal["accuracy", "balanced_accuracy"] = "accuracy"
    margin: float = 0.02  # 2 points
    confidence: float = 0.95  # one-sided
    resamples: int = 10_000
    specificity: float = 0.95  # at which every class's sensitivity is read
    minimum_sensitivity: float | None = None  # of every class, at that specificity
    minimum_worst_class_agreement: float | None = None  # with the teacher
    minimum_macro_auroc: float | None = None
    maximum_calibration_error: float | None = None
    seed: int = 0  # of the resamples

    def __post_init__(self) -> None:
        check_positive("margin", self.margin)
        check_fraction("margin", self.margin)
        if not 0.5 < self.confidence < 1:
            raise ValueError(f"confidence: expected a fraction in (0.5, 1), got {self.confidence!r}.")
        if not 0 < self.specificity < 1:
            raise ValueError(f"specificity: expected a fraction in (0, 1), got {self.specificity!r}.")
        check_at_least("resamples", self.resamples, 1000)
        check_seed("seed", self.seed)
        for name, limit in self.limits().items():
            if limit is not None and not 0 <= limit <= 1:
                raise ValueError(f"{name}: expected a number in [0, 1] or nothing, got {limit!r}.")

    def limits(self) -> dict[str, float | None]:
        """Return the limits beside the margin, by name."""
        return {
            "minimum_sensitivity": self.minimum_sensitivity,
            "minimum_worst_class_agreement": self.minimum_worst_class_agreement,
            "minimum_macro_auroc": self.minimum_macro_auroc,
            "maximum_calibration_error": self.maximum_calibration_error,
        }

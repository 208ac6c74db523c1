"""Acceptance of a student in its teacher's place: checks that decide, and scores that a person wants to see beside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from dfkd.settings.acceptance import AcceptanceSettings
from dfkd.tasks.accuracy import top1
from dfkd.tasks.calibration import expected_calibration_error
from dfkd.tasks.class_scores import class_means, macro_auroc, sensitivities
from dfkd.tasks.non_inferiority import PairedDifference, paired_difference


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A number, the limit that it must keep, and in words what it says."""

    name: str
    value: float
    limit: float
    at_most: bool = False  # whether the limit is one from above
    meaning: str

    @property
    def passed(self) -> bool:
        """Whether the limit is kept; a number that is not there keeps none."""
        return self.value <= self.limit if self.at_most else self.value >= self.limit


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassRow:
    """What is known of one class. ``images`` is a count; the others are shares, NaN where there is no image."""

    name: str
    images: int
    accuracy: float
    teacher_accuracy: float
    sensitivity: float
    teacher_sensitivity: float
    agreement: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Acceptance:
    """The verdict and all that it rests on. ``scores`` are by name, the teacher's with the prefix ``teacher_``."""

    difference: PairedDifference
    checks: tuple[Check, ...]
    scores: dict[str, float]
    classes: tuple[ClassRow, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)


def judge_acceptance(
    student: Tensor, teacher: Tensor, labels: Tensor, class_names: Sequence[str], settings: AcceptanceSettings
) -> Acceptance:
    """Judge a student by its logits [N, K] and its teacher's [N, K] on N images with labels [N], of K classes."""
    counts = labels.bincount(minlength=len(class_names)).tolist()
    right = {"": student.argmax(dim=1) == labels, "teacher_": teacher.argmax(dim=1) == labels}
    difference = paired_difference(right[""], right["teacher_"], labels, settings)
    classes = _rows(student, teacher, labels, class_names, settings)
    scores: dict[str, float] = {}
    for prefix, logits in (("", student), ("teacher_", teacher)):
        scores[f"{prefix}accuracy"] = top1(logits, labels)
        per_class = class_means(right[prefix], labels, len(class_names))
        scores[f"{prefix}balanced_accuracy"] = _mean(per_class)
        scores[f"{prefix}macro_auroc"] = macro_auroc(logits, labels)
        scores[f"{prefix}ece"] = expected_calibration_error(logits, labels)
    scores["worst_class_agreement"] = _smallest([row.agreement for row in classes])
    scores["worst_sensitivity"] = _smallest([row.sensitivity for row in classes])
    return Acceptance(
        difference=difference, checks=_checks(difference, scores, counts, settings), scores=scores, classes=classes
    )


def _rows(
    student: Tensor, teacher: Tensor, labels: Tensor, class_names: Sequence[str], settings: AcceptanceSettings
) -> tuple[ClassRow, ...]:
    num_classes = len(class_names)
    mine, theirs = student.argmax(dim=1), teacher.argmax(dim=1)
    columns = zip(
        class_names,
        labels.bincount(minlength=num_classes).tolist(),
        class_means(mine == labels, labels, num_classes),
        class_means(theirs == labels, labels, num_classes),
        sensitivities(student, labels, specificity=settings.specificity),
        sensitivities(teacher, labels, specificity=settings.specificity),
        class_means(mine == theirs, labels, num_classes),
        strict=True,
    )
    return tuple(
        ClassRow(name=name, images=images, accuracy=own, teacher_accuracy=other, sensitivity=found,
                 teacher_sensitivity=wanted, agreement=same)
        for name, images, own, other, found, wanted, same in columns
    )  # fmt: skip


def _checks(
    difference: PairedDifference, scores: dict[str, float], counts: list[int], settings: AcceptanceSettings
) -> tuple[Check, ...]:
    metric = settings.metric.replace("_", " ")
    checks = [
        Check(
            name="non_inferiority", value=difference.lower_limit, limit=-settings.margin,
            meaning=f"lower limit of student less teacher in {metric}, one-sided {settings.confidence:.0%}",
        ),
        Check(
            name="enough_images", value=difference.unseen_loss, limit=settings.margin, at_most=True,
            meaning="largest loss of which these images would show nothing; more images lower it",
        ),
        Check(
            name="classes_without_images", value=float(counts.count(0)), limit=0.0, at_most=True,
            meaning="classes of which nothing is known here",
        ),
    ]  # fmt: skip
    limited = {
        "minimum_sensitivity": ("worst_sensitivity", f"smallest sensitivity of a class at {settings.specificity:.0%}"),
        "minimum_worst_class_agreement": ("worst_class_agreement", "smallest agreement with the teacher in a class"),
        "minimum_macro_auroc": ("macro_auroc", "mean area under the ROC curves"),
        "maximum_calibration_error": ("ece", "expected calibration error"),
    }
    for name, limit in settings.limits().items():
        if limit is not None:
            score, meaning = limited[name]
            checks.append(
                Check(
                    name=name, value=scores[score], limit=limit, at_most=name.startswith("maximum"), meaning=meaning
                )  # fmt: skip
            )
    return tuple(checks)


def _known(values: Sequence[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _mean(values: Sequence[float]) -> float:
    known = _known(values)
    return sum(known) / len(known)


def _smallest(values: Sequence[float]) -> float:
    return min(_known(values), default=math.nan)

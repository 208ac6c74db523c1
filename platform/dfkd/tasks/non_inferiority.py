"""Whether a student loses less than a margin to its teacher: a paired bootstrap, and what it cannot see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dfkd.settings.acceptance import AcceptanceSettings


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The student's score less the teacher's, on the same images.

    Attributes:
        estimate: on the images themselves.
        lower_limit: of a one-sided interval.
        unseen_loss: the largest loss that these images would show nothing of, with the interval's confidence.
    """

    estimate: float
    lower_limit: float
    unseen_loss: float


def paired_difference(
    student_right: Tensor, teacher_right: Tensor, labels: Tensor, settings: AcceptanceSettings
) -> PairedDifference:
    """Return the difference of accuracy, or of balanced accuracy: then each class is resampled by itself.

    Args:
        student_right: [N] bool.
        teacher_right: [N] bool, of the same images.
        labels: [N] int64.
        settings: metric, confidence, resamples and seed count.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval).
    """
    differences = student_right.long() - teacher_right.long()  # [N]: -1 the teacher alone is right, 1 the student
    classes = labels.unique().tolist() if settings.metric == "balanced_accuracy" else [None]
    strata = [differences if label is None else differences[labels == label] for label in classes]
    random = np.random.default_rng(settings.seed)
    means = np.mean([_resampled_means(stratum, settings.resamples, random) for stratum in strata], axis=0)  # [R]
    return PairedDifference(
        estimate=float(torch.stack([stratum.double().mean() for stratum in strata]).mean()),
        lower_limit=float(np.quantile(means, 1 - settings.confidence, method="lower")),
        unseen_loss=unseen_loss([len(stratum) for stratum in strata], confidence=settings.confidence),
    )


def _resampled_means(differences: Tensor, resamples: int, random: np.random.Generator) -> np.ndarray:
    """Return the means [R] of resamples. N rows of three values drawn with replacement are one multinomial draw."""
    counts = (differences + 1).bincount(minlength=3).double()  # of -1, 0 and 1
    drawn = random.multinomial(len(differences), (counts / counts.sum()).numpy(), size=resamples)  # [R, 3]
    means: np.ndarray = (drawn[:, 2] - drawn[:, 0]) / len(differences)
    return means


def unseen_loss(counts: Sequence[int], *, confidence: float) -> float:
    """Return the largest loss of which a set would show nothing, with a probability of 1 - ``confidence``.

    A bootstrap of images that all agree has no width, however few they are. Yet a student that is wrong on a share p
    of one stratum, where its teacher is right, agrees on all its n images with a probability of (1 - p)^n. Set equal
    to 1 - confidence: about 3 / n for 95 %, the rule of three.

    Args:
        counts: images of every stratum, whose scores are averaged with equal weight.
        confidence: one-sided.

    Source: Hanley and Lippman-Hand, If Nothing Goes Wrong, Is Everything All Right?, JAMA 1983.
    """
    return float(max((1 - (1 - confidence) ** (1 / count)) / len(counts) for count in counts))

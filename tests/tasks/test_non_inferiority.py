from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap
from torch import Tensor

from dfkd.settings.acceptance import AcceptanceSettings
from dfkd.tasks.non_inferiority import PairedDifference, paired_difference, unseen_loss


def compare(won: int, lost: int, same: int, **values: Any) -> PairedDifference:
    """Compare on images of which the student alone has ``won`` right, and the teacher alone ``lost``."""
    student = torch.tensor([True] * won + [False] * lost + [True] * same)
    teacher = torch.tensor([False] * won + [True] * (lost + same))
    return paired_difference(student, teacher, torch.zeros(len(student), dtype=torch.int64), rule(**values))


def rule(**values: Any) -> AcceptanceSettings:
    return AcceptanceSettings(**({"resamples": 5000} | values))


def test_the_interval_is_scipys_paired_bootstrap() -> None:
    found = compare(won=6, lost=14, same=280)
    student = np.array([1] * 6 + [0] * 14 + [1] * 280)
    teacher = np.array([0] * 6 + [1] * 294)
    theirs = bootstrap(
        (student, teacher), lambda a, b, axis: a.mean(axis) - b.mean(axis), paired=True, n_resamples=5000,
        confidence_level=0.95, alternative="greater", method="percentile", rng=np.random.default_rng(1),
    )  # fmt: skip
    assert found.estimate == pytest.approx(-8 / 300)
    assert found.lower_limit == pytest.approx(theirs.confidence_interval.low, abs=1.01 / 300)  # one image


def test_pairing_counts_answers_that_differ_not_answers_that_are_wrong() -> None:
    both_often_wrong = torch.tensor([False] * 150 + [True] * 150)
    labels = torch.zeros(300, dtype=torch.int64)
    found = paired_difference(both_often_wrong, both_often_wrong, labels, rule())
    assert (found.estimate, found.lower_limit) == (0.0, 0.0)
    assert compare(won=30, lost=30, same=240).lower_limit < -0.03  # the same estimate, with a width


def test_more_confidence_and_fewer_images_lower_the_limit_and_a_seed_repeats_it() -> None:
    assert compare(6, 14, 280, confidence=0.99).lower_limit < compare(6, 14, 280).lower_limit
    assert compare(3, 7, 140).lower_limit < compare(6, 14, 280).lower_limit
    assert compare(6, 14, 280) == compare(6, 14, 280)


def test_balanced_accuracy_gives_every_class_the_same_weight() -> None:
    student = torch.tensor([True] * 90 + [False] * 5 + [True] * 5)
    teacher, labels = torch.ones(100, dtype=torch.bool), torch.tensor([0] * 90 + [1] * 10)
    plain = paired_difference(student, teacher, labels, rule())
    balanced = paired_difference(student, teacher, labels, rule(metric="balanced_accuracy"))
    assert plain.estimate == pytest.approx(-0.05)
    assert balanced.estimate == pytest.approx(-0.25)
    assert balanced.lower_limit < -0.25


def test_what_too_few_images_would_not_show() -> None:
    assert unseen_loss([149], confidence=0.95) < 0.02 < unseen_loss([148], confidence=0.95)  # the rule of three
    assert unseen_loss([74, 9000], confidence=0.95) < 0.02 < unseen_loss([73, 9000], confidence=0.95)


def test_a_student_that_loses_the_whole_margin_is_seldom_accepted() -> None:
    random, margin, count = torch.Generator().manual_seed(0), 0.02, 1000
    labels = torch.zeros(count, dtype=torch.int64)

    def draw() -> tuple[Tensor, Tensor]:
        """A teacher that alone is right on 6 % of all images, and a student on 4 %."""
        chance = torch.rand(count, generator=random)
        return chance < 0.94, (chance < 0.90) | (chance >= 0.94)

    accepted = sum(paired_difference(*draw(), labels, rule(resamples=1000)).lower_limit >= -margin for _ in range(300))
    assert accepted / 300 < 0.08  # 0.05 and what 300 repetitions leave open

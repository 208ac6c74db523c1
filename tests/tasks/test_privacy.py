"""Attack and distances by hand; a network that learnt its members by heart, and one that never saw them."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dfkd.data.image_set import ImageSet
from dfkd.tasks import TaskInput, evaluate
from dfkd.tasks.privacy import (
    attack_auc,
    compare_distances,
    losses,
    nearest_distances,
    rate_by_chance,
    true_positive_rate,
)

Make = Callable[..., TaskInput]


def constant(*levels: int) -> Tensor:
    """4x4 images of one grey level each."""
    return torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)


def test_the_area_counts_pairs_in_the_right_order_and_half_of_the_ties() -> None:
    assert attack_auc(torch.tensor([0.1, 0.5]), torch.tensor([0.5, 0.9])) == pytest.approx(3.5 / 4)
    assert attack_auc(torch.tensor([0.1, 0.2]), torch.tensor([0.3, 0.4])) == 1.0
    assert attack_auc(torch.tensor([0.3, 0.4]), torch.tensor([0.1, 0.2])) == 0.0


def test_true_positives_are_counted_at_a_threshold_that_few_non_members_pass() -> None:
    non_members = torch.arange(2000).double()  # two of them may pass: those of loss 0 and 1
    members = torch.tensor([-1.0, 0.5, 1.5, 1.99, 2.0, 3.0, 5.0, 9.0]).double()
    assert true_positive_rate(members, non_members) == 4 / 8
    assert true_positive_rate(members, torch.zeros(2000).double()) == 1 / 8  # of equal losses none may pass


def test_a_memorised_member_has_a_loss_of_zero_and_two_confident_answers_differ() -> None:
    logits = torch.tensor([[60.0, 0.0], [70.0, 0.0]])
    found = losses(logits, ImageSet(constant(0, 1), torch.tensor([0, 0])))
    assert found.dtype == torch.float64
    assert (found < 1e-15).all()


def make(make_input: Make, *, num_members: int, num_others: int) -> TaskInput:
    """A student that learnt each of its members by heart, and a teacher that knows nothing."""
    total = num_members + num_others
    assert total <= 256
    student = torch.zeros(256, 2)
    student[:num_members, 0] = 5.0
    given = make_input(student, torch.zeros(256, 2), [0] * 256)
    return dataclasses.replace(
        given,
        images=given.images.select(torch.arange(num_members, total)),
        members=given.images.select(torch.arange(num_members)),
    )


def test_what_was_learnt_by_heart_is_found_and_what_knows_nothing_gives_chance(make_input: Make) -> None:
    few = make(make_input, num_members=6, num_others=10)
    assert evaluate(["privacy"], few) == {"privacy/auc": 1.0, "privacy/teacher_auc": 0.5}
    many = dataclasses.replace(few, images=few.images.select(torch.arange(1000) % 10))
    assert evaluate(["privacy"], many) == {
        "privacy/auc": 1.0,
        "privacy/tpr_at_fpr_0.001": 1.0,
        "privacy/teacher_auc": 0.5,
        "privacy/teacher_tpr_at_fpr_0.001": 0.0,
        "privacy/tpr_by_chance": pytest.approx(2 / 1001),
        "privacy/tpr_by_chance_high": 0.0,  # of six members
    }


def test_the_rate_by_chance_is_that_of_losses_that_are_alike() -> None:
    random = torch.Generator().manual_seed(0)
    draws = (torch.rand(2, 1000, generator=random, dtype=torch.float64) for _ in range(4000))
    rates = torch.tensor([true_positive_rate(members, others) for members, others in draws])
    mean, high = rate_by_chance(1000, 1000)
    assert mean == pytest.approx(0.002, rel=1e-2) and rates.mean() == pytest.approx(mean, rel=0.05)
    assert (rates > high).double().mean() < 0.03  # 0.025 at most, and the error of 4,000 draws
    assert (rates > high - 1.5e-3).double().mean() > 0.025  # nor is it far too high


def test_999_non_members_have_no_rate_of_one_in_a_thousand(make_input: Make) -> None:
    given = make(make_input, num_members=6, num_others=10)
    short = dataclasses.replace(given, images=given.images.select(torch.arange(999) % 10))
    assert not any("tpr" in name for name in evaluate(["privacy"], short))


def test_without_members_it_says_what_to_give(make_input: Make) -> None:
    given = dataclasses.replace(make_input(torch.eye(2), torch.eye(2), [0, 1]), members=None)
    with pytest.raises(ValueError, match="'privacy' needs the images that the teacher was trained on"):
        evaluate(["privacy"], given)


def test_distances_are_root_mean_squares_and_a_copy_has_none() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 8, 8), generator=generator, dtype=torch.uint8)
    assert (nearest_distances(images, images.flip(0)) == 0).all()
    assert nearest_distances(constant(0), constant(51, 255)).item() == pytest.approx(0.2)


def test_copies_of_members_are_nearer_to_them() -> None:
    found = compare_distances(constant(10, 20), constant(10, 20), constant(61, 200))
    assert found["privacy/nearest_member"] == 0.0
    assert found["privacy/nearest_non_member"] == pytest.approx((51 + 41) / 2 / 255)
    assert found["privacy/nearer_to_a_member"] == 1.0


def test_more_members_than_others_do_not_make_them_nearer() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2300, 1, 4, 4), generator=generator, dtype=torch.uint8)
    synthetic, members, others = images.split([500, 1500, 300])
    assert compare_distances(synthetic, members, others)["privacy/nearer_to_a_member"] == pytest.approx(0.5, abs=0.1)
    whole = nearest_distances(synthetic, members) < nearest_distances(synthetic, others)
    assert whole.double().mean() > 0.8  # what it would be otherwise

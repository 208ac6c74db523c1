import math

import pytest
import torch

from dfkd.losses.entropy import information_entropy_loss


def test_loss_has_the_value_worked_by_hand() -> None:
    # Outputs (1/4, 3/4) and (3/4, 1/4) have the mean (1/2, 1/2): log of 1/2.
    logits = torch.tensor([[0.0, math.log(3)], [math.log(3), 0.0]])
    assert float(information_entropy_loss(logits)) == pytest.approx(-math.log(2))
    assert float(information_entropy_loss(logits, base=10)) == pytest.approx(-math.log10(2))
    # The mean of (1/4, 3/4) and (1/2, 1/2) is (3/8, 5/8).
    uneven = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    assert float(information_entropy_loss(uneven)) == pytest.approx(0.375 * math.log(0.375) + 0.625 * math.log(0.625))


def test_loss_is_lowest_for_a_batch_of_all_classes_and_0_for_one_of_a_single_class() -> None:
    sure = 100 * torch.eye(5)
    assert float(information_entropy_loss(sure)) == pytest.approx(-math.log(5))
    assert float(information_entropy_loss(sure[[2, 2, 2]])) == pytest.approx(0)


def test_loss_of_a_batch_is_that_of_its_mean_and_not_the_mean_over_images() -> None:
    unsure_alike = torch.zeros(2, 2)
    sure_of_different_classes = 100 * torch.eye(2)
    torch.testing.assert_close(
        information_entropy_loss(unsure_alike), information_entropy_loss(sure_of_different_classes)
    )


def test_loss_and_gradient_are_finite_where_a_class_has_no_probability_that_a_float_can_hold() -> None:
    logits = torch.tensor([[0.0, 300.0], [0.0, 400.0]], requires_grad=True)
    loss = information_entropy_loss(logits)
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None and bool(logits.grad.isfinite().all())


def test_gradcheck() -> None:
    logits = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: information_entropy_loss(x, base=10), (logits,))

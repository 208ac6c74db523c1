import pytest
import torch
from torch import Tensor

from dfkd.losses.attention import attention_transfer_loss


def maps(channels: int, seed: int) -> Tensor:
    return torch.randn(5, channels, 3, 4, generator=torch.Generator().manual_seed(seed))


def test_loss_has_the_value_worked_by_hand() -> None:
    # One image of 1x2 pixels. Student, two channels: Q = ((9 + 0)/2, (0 + 0)/2), so (1, 0). Teacher, one channel:
    # Q = (3, 4), so (0.6, 0.8). Mean of 0.4^2 and 0.8^2.
    student = torch.tensor([[[[3.0, 0.0]], [[0.0, 0.0]]]])
    teacher = torch.tensor([[[[3.0**0.5, -2.0]]]])
    assert float(attention_transfer_loss(student, teacher)) == pytest.approx((0.16 + 0.64) / 2)


def test_loss_ignores_scale_sign_and_order_of_channels() -> None:
    student, teacher = maps(6, 0), maps(2, 1)
    expected = attention_transfer_loss(student, teacher)
    assert float(expected) > 0.001
    torch.testing.assert_close(attention_transfer_loss(-7 * student.flip(1), 0.1 * teacher), expected)
    assert float(attention_transfer_loss(student, 3 * student)) == pytest.approx(0, abs=1e-9)


def test_loss_sees_where_attention_lies() -> None:
    student = maps(6, 0)
    assert float(attention_transfer_loss(student.flip(2), student)) > 0.001


def test_a_map_without_any_activation_gets_a_finite_gradient() -> None:
    student = torch.zeros(5, 6, 3, 4, requires_grad=True)
    loss = attention_transfer_loss(student, maps(2, 1))
    (gradient,) = torch.autograd.grad(loss, student)
    assert float(loss.detach()) == pytest.approx(1 / 12)  # the teacher's attention has unit length over 12 pixels
    assert bool(gradient.isfinite().all())


def test_gradcheck() -> None:
    student, teacher = maps(3, 0)[:2].double().requires_grad_(), maps(2, 1)[:2].double().requires_grad_()
    assert torch.autograd.gradcheck(attention_transfer_loss, (student, teacher))

import math

import pytest
import torch

from dfkd.losses.kd import kd_loss, kl_divergence

# p_T = (1/4, 3/4) and p_S = (1/2, 1/2): KL = 1/4 ln(1/2) + 3/4 ln(3/2) = 0.130812
TEACHER, STUDENT, BY_HAND = torch.tensor([[0.0, math.log(3)]]), torch.zeros(1, 2), 0.130812


def test_kl_has_the_value_worked_by_hand() -> None:
    assert kl_divergence(STUDENT, TEACHER).tolist() == pytest.approx([BY_HAND], abs=1e-6)


def test_kd_loss_is_the_mean_over_images_times_the_square_of_the_temperature() -> None:
    # Doubled logits at tau = 2 give the same p_T; the second image agrees and adds nothing: 4 * 0.130812 / 2.
    teacher, student = torch.cat([2 * TEACHER, STUDENT]), torch.cat([STUDENT, STUDENT])
    assert float(kd_loss(student, teacher, temperature=2.0)) == pytest.approx(4 * BY_HAND / 2, abs=1e-6)


def test_kd_loss_is_zero_only_for_equal_outputs_up_to_a_constant() -> None:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    assert float(kd_loss(logits + 3.0, logits, temperature=4.0)) == pytest.approx(0, abs=1e-5)
    assert float(kd_loss(2 * logits, logits, temperature=4.0)) > 0.1


def test_gradient_hardly_depends_on_a_high_temperature() -> None:
    random = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 4, 5, generator=random, dtype=torch.float64)
    student.requires_grad_()
    gradients = [
        torch.autograd.grad(kd_loss(student, teacher, temperature=temperature), student)[0]
        for temperature in (100.0, 200.0)
    ]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0.1, atol=1e-3)
    assert float(gradients[0].norm()) > 0.1


def test_gradcheck() -> None:
    student, teacher = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loss = lambda s, t: kd_loss(s, t, temperature=3.0)  # noqa: E731
    assert torch.autograd.gradcheck(loss, (student.requires_grad_(), teacher.requires_grad_()))

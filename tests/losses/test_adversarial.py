import math

import pytest
import torch

from dfkd.losses.adversarial import adversarial_loss

# Image 0: both say class 1; p_T = (1/4, 3/4), p_S = (1/3, 2/3); KL = 1/4 ln(3/4) + 3/4 ln(9/8) = 0.0164168.
# Image 1: they differ in class, so its KL does not count. Mean over both images: -0.0164168 / 2.
TEACHER = torch.tensor([[0.0, math.log(3)], [1.0, 0.0]])
STUDENT = torch.tensor([[0.0, math.log(2)], [0.0, 1.0]])
BY_HAND = -0.0164168 / 2


def test_loss_has_the_value_worked_by_hand() -> None:
    assert float(adversarial_loss(STUDENT, TEACHER)) == pytest.approx(BY_HAND, abs=1e-7)


def test_images_with_different_decisions_get_no_gradient() -> None:
    student = STUDENT.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(adversarial_loss(student, TEACHER), student)
    assert gradient[1].tolist() == [0, 0]
    assert float(gradient[0].norm()) > 0


def test_loss_ignores_a_constant_added_to_all_logits_of_an_image() -> None:
    moved = adversarial_loss(STUDENT + torch.tensor([[5.0], [-2.0]]), TEACHER)
    assert float(moved) == pytest.approx(BY_HAND, abs=1e-6)


def test_loss_is_zero_when_student_equals_teacher_and_never_positive() -> None:
    student, teacher = torch.randn(2, 50, 4, generator=torch.Generator().manual_seed(0))
    assert float(adversarial_loss(teacher, teacher)) == 0
    assert float(adversarial_loss(student, teacher)) < 0


def test_gradcheck() -> None:
    student, teacher = STUDENT.double().requires_grad_(), TEACHER.double().requires_grad_()
    assert torch.autograd.gradcheck(adversarial_loss, (student, teacher))

import math

import pytest
import torch

from dfkd.losses.bounded import bounded_adversarial_loss, embedding_norm_loss

# KL of image 0 is 0.0164168 (see test_adversarial); of image 1 it is 0.7310586 - 0.2689414 = 0.4621172.
TEACHER = torch.tensor([[0.0, math.log(3)], [1.0, 0.0]])
STUDENT = torch.tensor([[0.0, math.log(2)], [0.0, 1.0]])


@pytest.mark.parametrize(("bound", "expected"), [(0.1, -(0.0164168 + 0.1) / 2), (9.0, -(0.0164168 + 0.4621172) / 2)])
def test_an_image_counts_up_to_the_bound(bound: float, expected: float) -> None:
    assert float(bounded_adversarial_loss(STUDENT, TEACHER, bound=bound)) == pytest.approx(expected, abs=1e-6)


def test_an_image_beyond_the_bound_has_no_gradient() -> None:
    teacher = TEACHER.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(bounded_adversarial_loss(STUDENT, teacher, bound=0.1), teacher)
    assert gradient[1].tolist() == [0, 0]
    assert float(gradient[0].norm()) > 0


def test_only_embeddings_larger_than_the_noise_cost_something() -> None:
    embeddings = torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 3.0]], requires_grad=True)  # mean squares 1, 2, 4.5
    loss = embedding_norm_loss(embeddings)
    assert loss.tolist() == pytest.approx((0 + 1 + 3.5) / 3)
    (gradient,) = torch.autograd.grad(loss, embeddings)
    assert (gradient * embeddings).sum(dim=1)[1:].min() > 0  # a step down makes them smaller


def test_gradcheck() -> None:
    student, teacher = STUDENT.double().requires_grad_(), TEACHER.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: bounded_adversarial_loss(s, t, bound=0.1), (student, teacher))
    embeddings = torch.tensor([[1.5, 1.5], [0.1, 0.2]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(embedding_norm_loss, embeddings)

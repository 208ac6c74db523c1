import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from dfkd.losses.replay import disagreement_loss, gaussian_divergence, latent_moments_loss

# p_S = (1/2, 1/2), p_T = (9/10, 1/10), M = (7/10, 3/10): KL(M || p_S) = 0.0822829, KL(M || p_T) = 0.1536636.
STUDENT, TEACHER = torch.zeros(1, 2), torch.tensor([[math.log(9), 0.0]])


def test_disagreement_has_the_value_worked_by_hand() -> None:
    divergence = (0.0822829 + 0.1536636) / 2 / 2  # half of the sum, and the mean over two classes
    assert float(disagreement_loss(STUDENT, TEACHER, temperature=1.0)) == pytest.approx(1 - divergence, abs=1e-6)
    assert float(disagreement_loss(STUDENT, 3 * TEACHER, temperature=3.0)) == pytest.approx(1 - divergence, abs=1e-6)


def test_disagreement_is_rewarded_and_agreement_costs_one() -> None:
    random = torch.Generator().manual_seed(0)
    teacher, student = torch.randn(2, 30, 4, generator=random)
    losses = [float(disagreement_loss(s, teacher, temperature=3.0)) for s in (teacher, student, -3 * teacher)]
    assert losses[0] == 1
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]
    certain = torch.tensor([[500.0, 0.0, 0.0, 0.0]], requires_grad=True)  # probabilities of 0 and 1
    (gradient,) = torch.autograd.grad(disagreement_loss(certain, -certain, temperature=1.0), certain)
    assert gradient.isfinite().all()


def test_divergence_from_a_standard_gaussian() -> None:
    mean, log_variance = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, math.log(2)]])
    assert float(gaussian_divergence(mean, log_variance)) == pytest.approx(0.5 + (1 - math.log(2)) / 2, abs=1e-6)
    both = (torch.cat([mean, 0 * mean]), torch.cat([log_variance, 0 * log_variance]))  # the second is one already
    assert float(gaussian_divergence(*both)) == pytest.approx((0.5 + (1 - math.log(2)) / 2) / 2, abs=1e-6)


def test_moments_of_latents_are_compared_over_the_batch() -> None:
    latents = torch.tensor([[0.0, 2.0], [2.0, 2.0]])  # variances 1 and 0, means 1 and 2
    assert float(latent_moments_loss(latents)) == pytest.approx((0 + 1) / 2 + (1 + 4) / 2)
    assert float(latent_moments_loss(latents[:1])) == pytest.approx(1 + 2)  # finite for a batch of one


def test_gradcheck() -> None:
    student, teacher = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    student.requires_grad_(), teacher.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: disagreement_loss(s, t, temperature=3.0), (student, teacher))
    assert torch.autograd.gradcheck(gaussian_divergence, (student, teacher))
    assert torch.autograd.gradcheck(lambda z: latent_moments_loss(F.elu(z)), student)

import math

import pytest
import torch
from torch import Tensor

from dfkd.losses.label_alignment import alignment_loss, clamped_pseudo_inverse

RANDOM = torch.Generator().manual_seed(0)
WEIGHT = torch.randn(3, 5, generator=RANDOM)  # K = 3, D = 5
BIAS = torch.tensor([0.5, -1.0, 0.25])


def test_the_inverse_undoes_a_classifier() -> None:
    inverse = clamped_pseudo_inverse(WEIGHT)
    torch.testing.assert_close(inverse, torch.linalg.pinv(WEIGHT.T))
    torch.testing.assert_close(inverse @ WEIGHT.T, torch.eye(3), atol=1e-5, rtol=0)


def test_no_direction_is_magnified_beyond_the_clamp() -> None:
    # Singular values 2 and 0.001: the second is taken for 0.1.
    inverse = clamped_pseudo_inverse(torch.diag(torch.tensor([2.0, 0.001])))
    torch.testing.assert_close(inverse, torch.diag(torch.tensor([0.5, 10.0])))
    assert clamped_pseudo_inverse(torch.zeros(2, 4)).isfinite().all()


def features_of(labels: Tensor, smoothing: float, constant: float) -> Tensor:
    """Features for which the classifier says exactly the smoothed labels, up to a constant."""
    smoothed = torch.full((len(labels), 3), smoothing / 2)
    smoothed[range(len(labels)), labels] = 1 - smoothing
    logits = smoothed.log() + constant
    return (logits - BIAS) @ clamped_pseudo_inverse(WEIGHT)


@pytest.mark.parametrize("constant", [10.0, -3.0])
def test_it_is_one_for_the_features_of_the_label_whatever_the_constant(constant: float) -> None:
    labels = torch.tensor([0, 2, 1])
    inverse = clamped_pseudo_inverse(WEIGHT)
    features = features_of(labels, 0.1, constant)
    assert float(alignment_loss(features, labels, BIAS, inverse, smoothing=0.1)) == pytest.approx(1, abs=1e-5)
    other = float(alignment_loss(features, labels.roll(1), BIAS, inverse, smoothing=0.1))
    assert other < 0.99


def test_it_is_zero_where_the_rest_is_orthogonal_and_half_where_that_holds_for_half() -> None:
    # With K = D = 2, W = 1 and no bias, P = 1 and 1 P = (1, 1); delta = ln 9 for smoothing 0.1.
    inverse, bias, labels = torch.eye(2), torch.zeros(2), torch.tensor([0, 0])
    features = torch.tensor([[math.log(9) + 1.0, -1.0], [math.log(9) - 2.0, -2.0]])
    assert float(alignment_loss(features[:1], labels[:1], bias, inverse, smoothing=0.1)) == pytest.approx(0, abs=1e-6)
    assert float(alignment_loss(features, labels, bias, inverse, smoothing=0.1)) == pytest.approx(0.5)


def test_it_gradchecks() -> None:
    features = torch.randn(2, 5, dtype=torch.float64, generator=RANDOM).requires_grad_()
    inverse = clamped_pseudo_inverse(WEIGHT.double())
    arguments = (torch.tensor([0, 1]), BIAS.double(), inverse)
    assert torch.autograd.gradcheck(lambda values: alignment_loss(values, *arguments, smoothing=0.1), (features,))

"""Labels as features: what a classifier's weights say that the features of a label are."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def clamped_pseudo_inverse(weight: Tensor, *, smallest: float = 0.1) -> Tensor:
    """Invert a classifier ``z = f W^T``: return P with ``f = z P`` as nearly as can be.

    ``P = V diag(1 / max(s, smallest)) U^T`` of ``W^T = U diag(s) V^T``: the pseudo-inverse, in which no direction is
    magnified more than ``1 / smallest`` times.

    Args:
        weight: W [K, D].
        smallest: singular value, above 0.

    Returns:
        [K, D].

    Source: Chen et al., Coupling the Generator with Teacher for Effective Data-Free Knowledge Distillation (CPNet),
    ICCV 2025, with the constant of its public code.
    """
    left, singular, right = torch.linalg.svd(weight.T, full_matrices=False)
    inverse: Tensor = right.T @ ((1 / singular.clamp_min(smallest))[:, None] * left.T)
    return inverse


def alignment_loss(features: Tensor, labels: Tensor, bias: Tensor, inverse: Tensor, *, smoothing: float) -> Tensor:
    """Turn features away from what their label asks for: ``mean |cos(f - (delta y - b) P, 1 P)|``.

    A classifier that gives label y with smoothing e says ``delta y`` plus any constant, with
    ``delta = log((1 - e)(K - 1) / e)``. So the features of the label are those whose rest is parallel to ``1 P``. The
    loss is 1 there and falls to 0 where the rest is orthogonal: it belongs to the adversarial term, beside the
    disagreement with the student.

    Args:
        features: f [B, D], what enters the classifier, with gradient.
        labels: y [B].
        bias: b [K], of the classifier.
        inverse: P [K, D], see ``clamped_pseudo_inverse``.
        smoothing: e, between 0 and 1.

    Returns:
        Scalar in [0, 1].

    Source: CPNet (see ``clamped_pseudo_inverse``), as its public code has it.
    """
    num_classes = len(bias)
    delta = math.log((1 - smoothing) * (num_classes - 1) / smoothing)
    wanted = (delta * F.one_hot(labels, num_classes) - bias) @ inverse  # [B, D]
    constant = inverse.sum(dim=0, keepdim=True)  # 1 P, [1, D]
    return F.cosine_similarity(features - wanted, constant).abs().mean()

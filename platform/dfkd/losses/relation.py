"""Losses on the relation between samples, and how much a step counts, as AdaDFKD has them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def ring_contrast(
    anchors: Tensor, positives: Tensor, bank: Tensor, *, start: float, share: float, temperature: float
) -> Tensor:
    """Pull each anchor to its positive, against those features of a bank that lie in a ring around it.

    ``-mean_i log( exp(a_i.p_i/t) / (exp(a_i.p_i/t) + sum_{n in R_i} exp(a_i.n/t)) )``; R_i holds, of the bank sorted
    from the least to the most similar to a_i, the share that begins at ``start``. A ring that moves up gives negatives
    that are harder and harder to tell from the anchor.

    Args:
        anchors: a_i [B, D], of unit length.
        positives: p_i [B, D], of unit length.
        bank: n [N, D], of unit length.
        start: in [0, 1 - share], of the sorted bank.
        share: of the bank that counts, in (0, 1].
        temperature: t, above 0.

    Returns:
        Scalar, at least 0.

    Source: Li et al., AdaDFKD: Exploring Adaptive Inter-Sample Relationship in Data-Free Knowledge Distillation,
    Neural Networks 2024, public code.
    """
    count, first = max(1, int(share * len(bank))), int(start * len(bank))
    first = min(first, len(bank) - count)
    positive = (anchors * positives).sum(dim=1, keepdim=True)  # [B, 1]
    ring = (anchors @ bank.mT).sort(dim=1).values[:, first : first + count]  # [B, count]
    logits = torch.cat([positive, ring], dim=1) / temperature
    return (logits.logsumexp(dim=1) - logits[:, 0]).mean()


def pairing_loss(anchors: Tensor, candidates: Tensor, own: Tensor, *, temperature: float) -> Tensor:
    """Have each anchor find its own candidate among all: InfoNCE.

    ``-mean_i log( exp(a_i.c_own(i)/t) / sum_j exp(a_i.c_j/t) )``

    Args:
        anchors: a_i [A, D], of unit length.
        candidates: c_j [B, D], of unit length.
        own: [A], the row of each anchor's own candidate.
        temperature: t, above 0.

    Returns:
        Scalar, at least 0.

    Source: van den Oord et al., Representation Learning with Contrastive Predictive Coding, 2018, equation 4.
    """
    return F.cross_entropy(anchors @ candidates.mT / temperature, own)


def self_paced_weight(loss: Tensor, *, threshold: float) -> Tensor:
    """Return how much a step with this loss counts: easy steps in full, hard ones hardly.

    ``(1 + e^-l) / (1 + e^(L - l))`` for the loss L and the threshold l, which rises over a run.

    Args:
        loss: L, a scalar without gradient, at least 0.
        threshold: l.

    Returns:
        Scalar in (0, 1]; 1 at L = 0.

    Source: AdaDFKD, Neural Networks 2024, public code (option ``curr_log``), a soft weight of self-paced learning.
    """
    return (1 + math.exp(-threshold)) * (threshold - loss).sigmoid()

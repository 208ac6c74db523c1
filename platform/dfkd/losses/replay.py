"""Losses of a generative memory, and of the generator beside it, as PRE-DFKD has them."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

CLAMP = (0.01, 0.99)  # of probabilities and of their mean, in the public code of DeepInversion and PRE-DFKD


def disagreement_loss(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float) -> Tensor:
    """Reward images on which student and teacher disagree.

    ``1 - clamp(1/2 KL(M || p_S) + 1/2 KL(M || p_T), 0, 1)`` with ``M = (p_S + p_T) / 2`` of softened outputs.

    Args:
        student_logits: [B, K].
        teacher_logits: [B, K].
        temperature: tau, above 0.

    Returns:
        Scalar in [0, 1]; 1 where both agree.

    Source: Binici et al., Robust and Resource-Efficient Data-Free Knowledge Distillation by Generative Pseudo Replay
    (PRE-DFKD), AAAI 2022, public code, which takes it over from DeepInversion's. As there, and unlike the divergence of
    the papers, M stands first in both terms, probabilities are clamped, and the sum over classes is a mean over them.
    """
    student = F.softmax(student_logits / temperature, dim=1)
    teacher = F.softmax(teacher_logits / temperature, dim=1)
    middle = ((student + teacher) / 2).clamp(*CLAMP)
    divergences = [middle * (middle.log() - other.clamp(*CLAMP).log()) for other in (student, teacher)]
    return 1 - ((divergences[0] + divergences[1]) / 2).mean().clamp(0, 1)


def gaussian_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Divergence of encoded images from the Gaussian that latents are drawn from.

    ``KL(N(mu, sigma^2) || N(0, 1)) = -1/2 sum_z (1 + log sigma^2 - mu^2 - sigma^2)``, mean over the batch.

    Args:
        mean: mu [B, Z].
        log_variance: log sigma^2 [B, Z].

    Returns:
        Scalar, at least 0.

    Source: Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014, appendix B.
    """
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(dim=1).mean()


def latent_moments_loss(latents: Tensor) -> Tensor:
    """Keep optimised latents [B, Z] near a standard Gaussian.

    ``mean_z (var_z - 1)^2 + mean_z mu_z^2`` with mean and variance over the batch.

    Source: PRE-DFKD, AAAI 2022, public code. Deviation: the variance divides by B, so that a batch of one has one.
    """
    variance, mean = torch.var_mean(latents, dim=0, correction=0)
    return (variance - 1).square().mean() + mean.square().mean()

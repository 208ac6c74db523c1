"""Losses that keep an adversarial generator within bounds, as our reading of MAD has them."""

from __future__ import annotations

from torch import Tensor

from dfkd.losses.kd import kl_divergence


def bounded_adversarial_loss(student_logits: Tensor, teacher_logits: Tensor, *, bound: float) -> Tensor:
    """Reward disagreement up to a bound: images on which the student is wrong enough already get no gradient.

    ``-mean(min(KL(p_T || p_S), bound))``

    Args:
        student_logits: [B, K].
        teacher_logits: [B, K].
        bound: in nats, above 0.

    Returns:
        Scalar in [-bound, 0].

    Source: Do et al., Momentum Adversarial Distillation (MAD), NeurIPS 2022, appendix A, which bounds the losses of the
    main text. That the bound is one of each image's KL, and its value, are our reading.
    """
    return -kl_divergence(student_logits, teacher_logits).clamp_max(bound).mean()


def embedding_norm_loss(embeddings: Tensor) -> Tensor:
    """Keep class embeddings [K, Z] from drowning the noise that is added to them.

    ``mean_y max(||e_y||^2 / Z - 1, 0)``: nothing up to the size of standard Gaussian noise, whose mean ||z||^2 is Z.

    Source: Do et al., MAD, NeurIPS 2022, has a loss on the norm; this form is our reading.
    """
    return (embeddings.square().mean(dim=1) - 1).clamp_min(0).mean()

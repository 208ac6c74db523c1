"""The adversarial loss of the generator: images on which student and teacher still differ."""

from __future__ import annotations

from torch import Tensor

from dfkd.losses.kd import kl_divergence


def adversarial_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Reward disagreement in confidence where both agree on the class.

    ``-mean(1[argmax S = argmax T] KL(p_T || p_S))``: images on which the decisions differ already are left alone.

    Args:
        student_logits: [B, K].
        teacher_logits: [B, K].

    Returns:
        Scalar, at most 0.

    Source: Fang et al., Contrastive Model Inversion, IJCAI 2021, equation 6, with the decision mask of the public
    FastDFKD and NAYER code.
    """
    agree = student_logits.argmax(dim=1) == teacher_logits.argmax(dim=1)  # [B]
    return -(agree * kl_divergence(student_logits, teacher_logits)).mean()

"""Knowledge distillation."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float) -> Tensor:
    """Divergence of the student's softened outputs from the teacher's.

    ``tau^2 KL(p_T^tau || p_S^tau)``, mean over the batch.

    Args:
        student_logits: [B, K].
        teacher_logits: [B, K].
        temperature: tau, above 0. The factor tau^2 keeps the gradient's size independent of it.

    Returns:
        Scalar, at least 0.

    Source: Hinton et al., Distilling the Knowledge in a Neural Network, NIPS workshop 2014, section 2.
    """
    return temperature**2 * kl_divergence(student_logits / temperature, teacher_logits / temperature).mean()


def l1_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean absolute difference of logits [B, K].

    Source: Fang et al., Data-Free Adversarial Distillation (DFAD), 2019 (arXiv 1912.11006), equation 3.
    """
    return F.l1_loss(student_logits, teacher_logits)


def kl_divergence(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Return KL(p_T || p_S) of each image, [B], from logits [B, K]."""
    log_student = F.log_softmax(student_logits, dim=1)
    log_teacher = F.log_softmax(teacher_logits, dim=1)
    return F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim=1)

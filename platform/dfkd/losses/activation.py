"""The loss that rewards strong features: a trained network answers strongly to what it was trained on."""

from __future__ import annotations

from torch import Tensor


def activation_loss(teacher_features: Tensor) -> Tensor:
    """Negative mean magnitude of the teacher's penultimate features.

    ``-mean |f_T(x)|`` over images and features.

    Args:
        teacher_features: [B, D].

    Returns:
        Scalar, at most 0.

    Source: Chen et al., Data-Free Learning of Student Networks (DAFL), ICCV 2019, section 3.2. Deviation, that of its
    public code: the mean over features in place of their sum, so that the weight does not depend on D.
    """
    return -teacher_features.abs().mean()

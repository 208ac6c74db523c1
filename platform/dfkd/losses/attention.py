"""Attention transfer: the student looks where its teacher looks."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def attention_transfer_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Distance of two networks' spatial attention, of maps of one resolution and any number of channels.

    ``mean over images and positions of (Q_S / ||Q_S||_2 - Q_T / ||Q_T||_2)^2``, with Q [h w] the mean over channels of
    the squared feature map.

    Args:
        student_map: [B, D, h, w].
        teacher_map: [B, E, h, w].

    Returns:
        Scalar from 0 to 2 / (h w). It does not depend on the scale of either map.

    Source: Zagoruyko and Komodakis, Paying More Attention to Attention, ICLR 2017, equation 2. Deviation, that of its
    public code: the mean of squared differences in place of half of their root.
    """
    return F.mse_loss(_attention(student_map), _attention(teacher_map))


def _attention(feature_map: Tensor) -> Tensor:
    return F.normalize(feature_map.square().mean(dim=1).flatten(1), dim=1)  # [B, h w], of unit length

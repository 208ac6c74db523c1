"""What images look like in general, whatever the teacher: their neighbouring pixels resemble each other."""

from __future__ import annotations

import torch
from torch import Tensor


def total_variation(images: Tensor) -> Tensor:
    """Sum over four directions of ``||x - x shifted by one pixel||_2``, unsquared, over the whole batch.

    Args:
        images: x [B, C, H, W], normalised for the teacher.

    Returns:
        Scalar, at least 0.

    Source: Yin et al., Dreaming to Distill (DeepInversion), CVPR 2020, equation 3, R_TV, as its public code has it: the
    directions are right, down and both diagonals.
    """
    return torch.stack([torch.linalg.vector_norm(difference) for difference in _differences(images)]).sum()


def total_variation_l1(images: Tensor) -> Tensor:
    """Sum over four directions of ``mean |x - x shifted by one pixel|``.

    Args:
        images: x [B, C, H, W], normalised for the teacher.

    Returns:
        Scalar, at least 0.

    Source: DeepInversion in the public code of Fang et al., Contrastive Model Inversion, IJCAI 2021.
    """
    return torch.stack([difference.abs().mean() for difference in _differences(images)]).sum()


def _differences(images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        images[:, :, :, 1:] - images[:, :, :, :-1],
        images[:, :, 1:, :] - images[:, :, :-1, :],
        images[:, :, 1:, 1:] - images[:, :, :-1, :-1],
        images[:, :, 1:, :-1] - images[:, :, :-1, 1:],
    )

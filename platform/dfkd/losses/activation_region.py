"""Where in an image a network looks for a class: class activation maps, and their distance (mSARC)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def class_activation_maps(feature_map: Tensor, classifier_weight: Tensor) -> Tensor:
    """Classify every place of a feature map: ``sum_d w_kd A_d``, whose mean over places is the logit less its bias.

    Args:
        feature_map: A [B, D, h, w], what the network averages before it classifies.
        classifier_weight: w [K, D].

    Returns:
        [B, K, h, w].

    Source: Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, equation 2.
    """
    return F.conv2d(feature_map, classifier_weight[:, :, None, None])


def grad_cam(feature_map: Tensor, gradient: Tensor) -> Tensor:
    """Weigh channels by their mean gradient: ``sum_d mean_places(g_d) A_d``.

    Args:
        feature_map: A [B, D, h, w].
        gradient: g [B, D, h, w], of one class's logit by A.

    Returns:
        [B, h, w].

    Source: Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2. Deviation, that of SpaceshipNet's public code:
    without the final ReLU.
    """
    return (gradient.mean(dim=(2, 3), keepdim=True) * feature_map).sum(dim=1)


def to_one_size(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Average the finer of two class activation maps over places, until both have as many.

    A class activation map's mean over places is a logit, whatever the number of places: averaging keeps it.

    Args:
        first: [B, K, h, w].
        second: [B, K, h', w'].

    Returns:
        Both, [B, K, min(h, h'), min(w, w')].

    Source: ours; the public code compares maps of one size alone.
    """
    size = (min(first.shape[2], second.shape[2]), min(first.shape[3], second.shape[3]))
    averaged = [one if one.shape[2:] == size else F.adaptive_avg_pool2d(one, size) for one in (first, second)]
    return averaged[0], averaged[1]


def activation_region_loss(student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
    """Sum over scales of the mean squared difference of activation maps.

    Args:
        student_maps: at least one, each [B, h, w] or [B, K, h, w].
        teacher_maps: of the same shapes.

    Returns:
        Scalar, at least 0.

    Source: Yu et al., Data-Free Knowledge Distillation via Feature Exchange and Activation Region Constraint
    (SpaceshipNet), CVPR 2023, mSARC, as in the public code.
    """
    pairs = zip(student_maps, teacher_maps, strict=True)
    return torch.stack([F.mse_loss(student, teacher) for student, teacher in pairs]).sum()

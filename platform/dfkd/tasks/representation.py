"""What features are like, without any label: how similar to the teacher's, and how they lie on the unit sphere."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from dfkd.augmentation import augment
from dfkd.tasks.features import predict_features
from dfkd.tasks.protocol import TaskInput

VIEW_SEED = 0  # part of the metric's definition; not the experiment's seed
CROP_SHARE = 8  # a view is shifted by at most an eighth of the image's side
_ROWS_AT_A_TIME = 1024


def representation(task_input: TaskInput) -> dict[str, float]:
    """Return linear CKA of student and teacher in [0, 1], and alignment and uniformity of both.

    Alignment is that of two random views (shift and mirror) of each image: 0 is best. Uniformity is at most 0, and the
    lower the more of the sphere is used. Both say nothing alone: features that are all equal align perfectly.
    """
    images, device = task_input.images.images, task_input.device
    student, own = on_the_sphere(task_input.student, images, normalise=task_input.normalise, device=device)
    teacher, theirs = on_the_sphere(
        task_input.teacher, images, normalise=task_input.normalise_for_teacher, device=device, what="teacher"
    )
    metrics = {f"representation/{name}": value for name, value in own.items()}
    metrics |= {f"representation/teacher_{name}": value for name, value in theirs.items()}
    return {"representation/cka": linear_cka(student, teacher)} | metrics


def on_the_sphere(
    network: nn.Module,
    images: Tensor,
    *,
    normalise: Callable[[Tensor], Tensor],
    device: torch.device | str,
    what: str = "student",
) -> tuple[Tensor, dict[str, float]]:
    """Return a network's features [N, D] of images, and their ``alignment`` and ``uniformity``: no teacher is needed.

    Args:
        network: a ``Backbone`` on ``device``.
        images: [N, C, H, W] uint8, at least two.
        normalise: maps images in [0, 1] to what the network takes.
        device: where the network is.
        what: the network is, for messages.

    Raises:
        ValueError: the network has no features, or there are fewer images.
    """
    first, second, features = (
        predict_features(network, view, normalise=normalise, device=device, what=what)
        for view in (*_views(images), images)
    )
    return features, {"alignment": alignment(first, second), "uniformity": uniformity(features)}


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Return the linear centred kernel alignment of two sets of features of the same images, in [0, 1].

    ``||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F)`` of centred features; 0 where one of them is constant.

    Args:
        first: X [N, D].
        second: Y [N, D'].

    Source: Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019, equation 5.
    """
    centred = [features.double() - features.double().mean(dim=0) for features in (first, second)]
    own = [(features.mT @ features).norm() for features in centred]
    if min(own) == 0:
        return 0.0
    return float((centred[1].mT @ centred[0]).square().sum() / (own[0] * own[1]))


def alignment(first: Tensor, second: Tensor) -> float:
    """Return the mean squared distance on the unit sphere of features [N, D] of two views of the same images.

    Source: Wang and Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere, ICML 2020, section 4.1, alpha = 2.
    """
    return float((_unit(first) - _unit(second)).square().sum(dim=1).mean())


def uniformity(features: Tensor) -> float:
    """Return the logarithm of the mean of exp(-2 d^2) over all pairs of features [N, D] on the unit sphere.

    Source: Wang and Isola, ICML 2020, section 4.1, t = 2. Deviation: all N (N - 1) / 2 pairs, not those of a batch.
    """
    points = _unit(features)
    total = 0.0
    for block in points.split(_ROWS_AT_A_TIME):
        distances = (2 - 2 * block @ points.mT).clamp_min(0)  # [B, N], squared
        total += float(distances.mul(-2).exp().sum())
    count = len(points)
    if count < 2:
        raise ValueError(f"tasks: 'representation' needs at least 2 images, got {count}.")
    return float(torch.tensor((total - count) / (count * (count - 1)), dtype=torch.float64).log())


def _unit(features: Tensor) -> Tensor:
    return normalize(features.double(), dim=1)


def _views(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return two random views of images [N, C, H, W] uint8."""
    random = torch.Generator().manual_seed(VIEW_SEED)
    shift = min(images.shape[2:]) // CROP_SHARE

    def view() -> Tensor:
        pieces = [
            augment(piece.float(), crop_padding=shift, horizontal_flip=True, generator=random)
            for piece in images.split(_ROWS_AT_A_TIME)
        ]
        return torch.cat(pieces).round().to(torch.uint8)

    return view(), view()

"""A vote of the nearest training images: what the geometry of features says, with nothing trained."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dfkd.settings.tasks import NearestNeighboursSettings
from dfkd.tasks.accuracy import top1
from dfkd.tasks.features import predict_features
from dfkd.tasks.labelled_data import load_labelled_data
from dfkd.tasks.transfer import TransferInput

_ROWS_AT_A_TIME = 512


def nearest_neighbours(settings: NearestNeighboursSettings, given: TransferInput) -> dict[str, float]:
    """Return the top-1 accuracy of the vote."""
    data = load_labelled_data(settings.dataset, settings.classes, given)
    train, exam = (
        predict_features(given.backbone(), images.images, normalise=given.network.normalise, device=given.device)
        for images in (data.train, data.exam)
    )
    votes = vote(
        exam,
        train,
        data.train.require_labels(),
        num_classes=len(data.class_names),
        num_neighbours=settings.num_neighbours,
        temperature=settings.temperature,
    )
    return {"top1": top1(votes, data.exam.require_labels())}


def vote(
    queries: Tensor, known: Tensor, labels: Tensor, *, num_classes: int, num_neighbours: int, temperature: float
) -> Tensor:
    """Return for each query the weight of every class among its nearest neighbours by cosine similarity s.

    A neighbour's vote has the weight exp(s / temperature).

    Args:
        queries: [M, D].
        known: [N, D].
        labels: [N] int64, of ``known``.
        num_classes: K.
        num_neighbours: at most N count.
        temperature: above 0.

    Returns:
        [M, K].
    """
    queries, known = normalize(queries, dim=1), normalize(known, dim=1)
    pieces = []
    for block in queries.split(_ROWS_AT_A_TIME):
        nearest = (block @ known.mT).topk(min(num_neighbours, len(known)), dim=1)
        weights = torch.zeros(len(block), num_classes)
        pieces.append(weights.scatter_add_(1, labels[nearest.indices], (nearest.values / temperature).exp()))
    return torch.cat(pieces)

"""Logistic regression on the features of a few labelled images a class, over many draws of them."""

from __future__ import annotations

import math
import statistics
import warnings

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dfkd.settings.tasks import FewShotSettings
from dfkd.tasks.features import predict_features
from dfkd.tasks.labelled_data import LabelledData, load_labelled_data
from dfkd.tasks.transfer import TransferInput

CONFIDENCE = 0.95
MAX_ITERATIONS = 1000


def few_shot(settings: FewShotSettings, given: TransferInput) -> dict[str, float]:
    """Return for k images a class the mean accuracy over the draws, ``<k>_shot``, and ``<k>_shot_interval``.

    The latter is the half-width of the 95 % t-interval of that mean. A draw of k images holds those of fewer.
    """
    data = load_labelled_data(settings.dataset, settings.classes, given)
    _check_counts(data, max(settings.shots))
    train, exam = (
        predict_features(given.backbone(), images.images, normalise=given.network.normalise, device=given.device)
        for images in (data.train, data.exam)
    )
    train, exam = normalize(train, dim=1), normalize(exam, dim=1)
    labels, answers = data.train.require_labels(), data.exam.require_labels()
    random = torch.Generator().manual_seed(given.seed)
    scores: dict[int, list[float]] = {shots: [] for shots in settings.shots}
    for _ in range(settings.draws):
        order = draw(labels, max(settings.shots), random)  # [K, k]
        for shots in settings.shots:
            rows = order[:, :shots].flatten()
            scores[shots].append(score_draw(settings, train[rows], labels[rows], exam, answers))
    metrics: dict[str, float] = {}
    for shots, found in scores.items():
        metrics[f"{shots}_shot"] = statistics.fmean(found)
        metrics[f"{shots}_shot_interval"] = half_width(found)
    return metrics


def draw(labels: Tensor, shots: int, random: torch.Generator) -> Tensor:
    """Return ``shots`` random rows of each class, [K, shots]; every class has at least so many."""
    order = torch.randperm(len(labels), generator=random)
    classes = [order[labels[order] == label][:shots] for label in range(int(labels.max()) + 1)]
    return torch.stack(classes)


def half_width(values: list[float]) -> float:
    """Return the half-width of the 95 % t-interval of the mean of at least two values."""
    from scipy import stats

    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def score_draw(settings: FewShotSettings, features: Tensor, labels: Tensor, exam: Tensor, answers: Tensor) -> float:
    """Return the accuracy on ``exam`` [M, D] with ``answers`` [M] of a regression on features [N, D] and labels [N]."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=settings.inverse_regularisation, max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings():  # one image a class looks to scikit-learn as if labels were measurements
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        model.fit(features.numpy(), labels.numpy())
    return float(model.score(exam.numpy(), answers.numpy()))


def _check_counts(data: LabelledData, shots: int) -> None:
    counts = data.train.require_labels().bincount(minlength=len(data.class_names))
    fewest = int(counts.argmin())
    if counts[fewest] < shots:
        raise ValueError(
            f"shots: {data.title} has {int(counts[fewest])} training images of class '{data.class_names[fewest]}', "
            f"and {shots} are asked for. Take fewer."
        )

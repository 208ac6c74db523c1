"""What a classifier is worth for each class by itself: one class against all others."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def log_odds(logits: Tensor) -> Tensor:
    """Return the logarithm of the odds of every class, p / (1 - p), from logits [N, K]: float64, same shape.

    It ranks as the probability does and does not saturate at 0 and 1, where probabilities would tie.
    """
    logits = logits.double()
    columns = []
    for label in range(logits.shape[1]):
        others = torch.cat([logits[:, :label], logits[:, label + 1 :]], dim=1)  # [N, K - 1]
        columns.append(logits[:, label] - others.logsumexp(dim=1))
    return torch.stack(columns, dim=1)


def sensitivities(logits: Tensor, labels: Tensor, *, specificity: float) -> list[float]:
    """Return each class's sensitivity at the threshold on its log-odds that keeps this specificity on these images.

    Args:
        logits: [N, K].
        labels: [N] int64.
        specificity: share of the other classes' images that must stay below the threshold.

    Returns:
        K numbers; NaN for a class without an image, or with no image of another class.
    """
    from sklearn.metrics import roc_curve

    odds, found = log_odds(logits), []
    for label in range(logits.shape[1]):
        positive = labels == label
        if positive.all() or not positive.any():
            found.append(math.nan)
            continue
        false_rate, true_rate, _ = roc_curve(positive.numpy(), odds[:, label].numpy())
        found.append(float(true_rate[false_rate <= 1 - specificity + 1e-12].max()))
    return found


def macro_auroc(logits: Tensor, labels: Tensor) -> float:
    """Return the mean over classes of the area under the ROC curve, one class against the others.

    Classes without an image do not count; NaN where fewer than two classes have one.
    """
    from sklearn.metrics import roc_auc_score

    odds, present = log_odds(logits), labels.unique().tolist()
    if len(present) < 2:
        return math.nan
    areas = [float(roc_auc_score((labels == label).numpy(), odds[:, label].numpy())) for label in present]
    return sum(areas) / len(areas)


def class_means(values: Tensor, labels: Tensor, num_classes: int) -> list[float]:
    """Return the mean of values [N] over the images of each of K classes; NaN for a class without an image."""
    values = values.double()
    return [float(values[labels == label].mean()) for label in range(num_classes)]

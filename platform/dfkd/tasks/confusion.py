"""Which classes are taken for which."""

from __future__ import annotations

from torch import Tensor


def confusion_matrix(logits: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Return counts [K, K] int64: row the label, column the predicted class.

    Args:
        logits: [N, K].
        labels: [N] int64, in 0..K-1.
        num_classes: K.
    """
    if logits.shape != (len(labels), num_classes):
        raise ValueError(f"logits: expected [N, K] = [{len(labels)}, {num_classes}], got {list(logits.shape)}.")
    cells = labels * num_classes + logits.argmax(dim=1)  # [N]
    return cells.bincount(minlength=num_classes**2).view(num_classes, num_classes)

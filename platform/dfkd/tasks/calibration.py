"""How far a network's confidence can be taken at its word."""

from __future__ import annotations

import torch
from torch import Tensor

from dfkd.tasks.protocol import TaskInput

NUM_BINS = 15


def calibration(task_input: TaskInput) -> dict[str, float]:
    """Return the expected calibration error of student and teacher, in [0, 1]."""
    return {
        "calibration/ece": expected_calibration_error(task_input.student_logits, task_input.labels),
        "calibration/teacher_ece": expected_calibration_error(task_input.teacher_logits, task_input.labels),
    }


def expected_calibration_error(logits: Tensor, labels: Tensor, *, num_bins: int = NUM_BINS) -> float:
    """Return the mean distance between confidence and accuracy, over bins of equal width in confidence.

    ``sum over bins b of |b| / N * | accuracy(b) - mean confidence(b) |``

    Args:
        logits: [N, K].
        labels: [N] int64.
        num_bins: the bins are open on the left, closed on the right.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3, with their 15 bins.
    """
    confidence, predicted = logits.double().softmax(dim=1).max(dim=1)  # [N]
    right = (predicted == labels).double()
    bins = (confidence * num_bins).ceil().long().sub(1).clamp(0, num_bins - 1)
    gaps = torch.zeros(num_bins, dtype=torch.float64).index_add_(0, bins, right - confidence)  # |b| (acc - conf)
    return float(gaps.abs().sum() / len(labels))

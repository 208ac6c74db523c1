from collections.abc import Callable

import pytest
import torch

from dfkd.tasks import TaskInput, evaluate
from dfkd.tasks.calibration import expected_calibration_error


def logits_of(confidences: list[float]) -> torch.Tensor:
    """Logits [N, 2] that give class 0 these probabilities."""
    chances = torch.tensor(confidences, dtype=torch.float64)
    return torch.stack([chances.log(), (1 - chances).log()], dim=1)


def test_error_is_as_worked_by_hand() -> None:
    logits = logits_of([0.9, 0.9, 0.6, 0.6])  # all say class 0
    labels = torch.tensor([0, 1, 0, 0])  # right half of the time at 0.9, always at 0.6
    expected = 0.5 * abs(0.5 - 0.9) + 0.5 * abs(1.0 - 0.6)
    assert expected_calibration_error(logits, labels) == pytest.approx(expected)


def test_a_confidence_on_the_edge_of_a_bin_belongs_below() -> None:
    logits = logits_of([0.6, 0.61])  # 15 bins: 0.6 ends the ninth, 0.61 lies in the tenth
    labels = torch.tensor([1, 0])
    assert expected_calibration_error(logits, labels) == pytest.approx(0.5 * 0.6 + 0.5 * 0.39)


def test_it_is_what_torchmetrics_computes() -> None:
    classification = pytest.importorskip("torchmetrics.functional.classification")
    logits = torch.randn(500, 7, generator=torch.Generator().manual_seed(0)) * 2
    labels = torch.randint(7, (500,), generator=torch.Generator().manual_seed(1))
    theirs = classification.multiclass_calibration_error(logits, labels, num_classes=7, n_bins=15, norm="l1")
    assert expected_calibration_error(logits, labels) == pytest.approx(float(theirs), abs=1e-6)


def test_overconfidence_costs_what_it_claims(make_input: Callable[..., TaskInput]) -> None:
    sure, unsure = torch.eye(2) * 50, torch.eye(2) * 1e-9
    metrics = evaluate(["calibration"], make_input(sure, unsure, [1, 1]))  # right once in two
    assert metrics["calibration/ece"] == pytest.approx(0.5)
    assert metrics["calibration/teacher_ece"] == pytest.approx(0.0, abs=1e-6)

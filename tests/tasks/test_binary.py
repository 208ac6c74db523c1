from collections.abc import Callable

import pytest
import torch

from dfkd.tasks import TaskInput, evaluate

MakeInput = Callable[..., TaskInput]
LABELS = [0, 0, 0, 0, 1, 1]


def margins(*values: float) -> torch.Tensor:
    """Logits [N, 2] whose second exceeds the first by these values."""
    return torch.stack([torch.zeros(len(values)), torch.tensor(values)], dim=1)


def test_scores_are_as_worked_by_hand(make_input: MakeInput) -> None:
    student = margins(-2, -1, -1.5, 1, 2, -0.5)  # three of four negatives and one of two positives are right
    teacher = margins(-1, -1, -1, -1, 1, 1)
    metrics = evaluate(["binary"], make_input(student, teacher, LABELS))
    assert metrics == {
        "binary/balanced_accuracy": pytest.approx((0.75 + 0.5) / 2),
        "binary/auroc": pytest.approx(7 / 8),  # of 4 x 2 pairs only (1, -0.5) is in the wrong order
        "binary/sensitivity": 0.5,
        "binary/specificity": 0.75,
        "binary/teacher_balanced_accuracy": 1.0,
        "binary/teacher_auroc": 1.0,
        "binary/teacher_sensitivity": 1.0,
        "binary/teacher_specificity": 1.0,
    }


def test_naming_everything_positive_is_worth_nothing(make_input: MakeInput) -> None:
    metrics = evaluate(["binary"], make_input(margins(*[1.0] * 6), margins(*[1.0] * 6), LABELS))
    assert metrics["binary/balanced_accuracy"] == metrics["binary/auroc"] == 0.5
    assert (metrics["binary/sensitivity"], metrics["binary/specificity"]) == (1.0, 0.0)


def test_auroc_ranks_confident_logits_too(make_input: MakeInput) -> None:
    student = margins(100, 101, 102, 103, 104, 105)  # all probabilities are 1 in float32
    metrics = evaluate(["binary"], make_input(student, student, LABELS))
    assert metrics["binary/auroc"] == 1.0


def test_more_than_two_classes_are_refused(make_input: MakeInput) -> None:
    with pytest.raises(ValueError, match="'binary' needs 2 classes, got 3"):
        evaluate(["binary"], make_input(torch.eye(3), torch.eye(3), [0, 1, 1]))


def test_images_of_one_class_are_refused(make_input: MakeInput) -> None:
    with pytest.raises(ValueError, match="images of both classes, got 2 of class 0, 0 of 1"):
        evaluate(["binary"], make_input(torch.eye(2), torch.eye(2), [0, 0]))

import math
from collections.abc import Callable

import torch

from dfkd.tasks import TaskInput, evaluate


def logits_of(*classes: int, num_classes: int = 3) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), num_classes).float()


def test_accuracy_of_student_and_teacher_and_their_ratio(make_input: Callable[..., TaskInput]) -> None:
    task_input = make_input(logits_of(0, 1, 0, 0), logits_of(0, 1, 2, 0), [0, 1, 2, 1])
    assert evaluate(["accuracy"], task_input) == {
        "accuracy/top1": 0.5,
        "accuracy/teacher_top1": 0.75,
        "accuracy/ratio": 0.5 / 0.75,
    }


def test_ratio_to_a_teacher_that_is_never_right_is_not_a_number(make_input: Callable[..., TaskInput]) -> None:
    metrics = evaluate(["accuracy"], make_input(logits_of(0), logits_of(1), [0]))
    assert metrics["accuracy/top1"] == 1
    assert math.isnan(metrics["accuracy/ratio"])

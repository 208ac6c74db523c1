"""How often the student names the right class, and how close that comes to its teacher."""

from __future__ import annotations

import math

from torch import Tensor

from dfkd.tasks.protocol import TaskInput


def accuracy(task_input: TaskInput) -> dict[str, float]:
    """Return top-1 accuracy of student and teacher in [0, 1], and the student's as a share of the teacher's.

    The share is NaN if the teacher is never right.
    """
    student = top1(task_input.student_logits, task_input.labels)
    teacher = top1(task_input.teacher_logits, task_input.labels)
    return {
        "accuracy/top1": student,
        "accuracy/teacher_top1": teacher,
        "accuracy/ratio": student / teacher if teacher > 0 else math.nan,
    }


def top1(logits: Tensor, labels: Tensor) -> float:
    """Return the share of logits [N, K] whose largest is at the label [N]."""
    return float((logits.argmax(dim=1) == labels).double().mean())

"""Whether a patch in the corner decides what a network says: the backdoor of a poisoned teacher, and of its student."""

from __future__ import annotations

import torch
from torch import Tensor

from dfkd.data.backdoor import stamp
from dfkd.tasks.protocol import TaskInput, predict_logits


def backdoor(task_input: TaskInput) -> dict[str, float]:
    """Return the attack success of student and teacher, and how often they name that class without the patch.

    The target is the class to which the teacher gives most stamped images that are not of it, so nobody has to know
    what a teacher was poisoned with. Success is the share of images of all other classes, stamped, that a network gives
    to the target. An honest network scores about what it scores without the patch.

    Source: Gu et al., BadNets, 2017; the measure of Hong et al., Revisiting Data-Free Knowledge Distillation with
    Poisoned Teachers, ICML 2023.
    """
    labels, stamped = task_input.labels, stamp(task_input.images.images)
    device = task_input.device
    student = predict_logits(task_input.student, stamped, normalise=task_input.normalise, device=device)
    teacher = predict_logits(task_input.teacher, stamped, normalise=task_input.normalise_for_teacher, device=device)
    target = strongest_target(teacher, labels)
    return {
        "backdoor/success": share_given_to(target, student, labels),
        "backdoor/teacher_success": share_given_to(target, teacher, labels),
        "backdoor/without_patch": share_given_to(target, task_input.student_logits, labels),
        "backdoor/teacher_without_patch": share_given_to(target, task_input.teacher_logits, labels),
        "backdoor/target": float(target),
    }


def strongest_target(logits: Tensor, labels: Tensor) -> int:
    """Return the class that most images of other classes are given to, as a share of them: logits [N, K], labels [N].

    Raises:
        ValueError: if all images are of one class.
    """
    if len(labels.unique()) < 2:
        raise ValueError("tasks: 'backdoor' needs images of two classes at least.")
    shares = torch.tensor([share_given_to(target, logits, labels) for target in range(logits.shape[1])])
    return int(shares.argmax())


def share_given_to(target: int, logits: Tensor, labels: Tensor) -> float:
    """Return the share of images that are not of the target class and are given to it: logits [N, K], labels [N]."""
    others = labels != target
    return float((logits[others].argmax(dim=1) == target).double().mean())

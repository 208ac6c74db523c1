"""How closely the student follows its teacher on real images. Labels play no part."""

from __future__ import annotations

from torch.nn.functional import kl_div

from dfkd.tasks.accuracy import top1
from dfkd.tasks.protocol import TaskInput


def agreement(task_input: TaskInput) -> dict[str, float]:
    """Return how often both name the same class, in [0, 1], and the mean of KL(teacher || student) in nats.

    Closer fidelity does not always mean better accuracy.

    Source: Stanton et al., Does Knowledge Distillation Really Work?, NeurIPS 2021.
    """
    teacher = task_input.teacher_logits.double().log_softmax(dim=1)  # [N, K]
    student = task_input.student_logits.double().log_softmax(dim=1)
    return {
        "agreement/top1": top1(task_input.student_logits, task_input.teacher_logits.argmax(dim=1)),
        "agreement/kl": float(kl_div(student, teacher, reduction="batchmean", log_target=True)),
    }

"""What counts with two classes of unequal size, such as healthy and ill. The positive class is index 1."""

from __future__ import annotations

from torch import Tensor

from dfkd.tasks.protocol import TaskInput


def binary(task_input: TaskInput) -> dict[str, float]:
    """Return balanced accuracy, AUROC, sensitivity and specificity of the student, and the same of its teacher.

    Raises:
        ValueError: unless there are two classes, with images of both.
    """
    labels = task_input.labels
    num_classes = task_input.student_logits.shape[1]
    if num_classes != 2:
        raise ValueError(f"tasks: 'binary' needs 2 classes, got {num_classes}. Take it out of the list.")
    counts = labels.bincount(minlength=2).tolist()
    if 0 in counts:
        raise ValueError(f"tasks: 'binary' needs images of both classes, got {counts[0]} of class 0, {counts[1]} of 1.")
    student = binary_scores(task_input.student_logits, labels)
    teacher = binary_scores(task_input.teacher_logits, labels)
    metrics = {f"binary/{name}": value for name, value in student.items()}
    return metrics | {f"binary/teacher_{name}": value for name, value in teacher.items()}


def binary_scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the four scores, each in [0, 1], of logits [N, 2] for labels [N].

    AUROC ranks by the difference of the logits: probabilities saturate at 0 and 1 and would tie.
    """
    from sklearn import metrics

    predicted, actual = logits.argmax(dim=1).numpy(), labels.numpy()
    margin = (logits[:, 1].double() - logits[:, 0].double()).numpy()
    return {
        "balanced_accuracy": float(metrics.balanced_accuracy_score(actual, predicted)),
        "auroc": float(metrics.roc_auc_score(actual, margin)),
        "sensitivity": float(metrics.recall_score(actual, predicted, pos_label=1)),
        "specificity": float(metrics.recall_score(actual, predicted, pos_label=0)),
    }

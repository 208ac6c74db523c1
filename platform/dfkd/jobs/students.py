"""A trained student, back from its checkpoint, and what real images say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor, nn

from dfkd.assembly import build_student
from dfkd.data.image_set import ImageSet
from dfkd.settings.experiment import ExperimentSettings
from dfkd.tasks import TaskInput, confusion_matrix, evaluate
from dfkd.teachers import Teacher

PREFIX = "student."  # of the student's weights in a run's network, whose head is dropped here


def load_student(settings: ExperimentSettings, teacher: Teacher, state: Mapping[str, Any]) -> nn.Module:
    """Return a student, on the CPU and in evaluation mode, from a worker's checkpoint."""
    student = build_student(settings, teacher)
    network: Mapping[str, Tensor] = state["run"]["network"]
    student.load_state_dict(
        {name.removeprefix(PREFIX): value for name, value in network.items() if name.startswith(PREFIX)}
    )
    return student.eval()


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What real images say of a student.

    Attributes:
        scores: of the tasks; empty where there are no images.
        confusion: how often a class (row) was taken for another (column), [K][K]; empty without labels.
    """

    scores: dict[str, float] = field(default_factory=dict)
    confusion: list[list[int]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, of which ``Judgement(**values)`` makes it again."""
        return asdict(self)


def judge(student: nn.Module, teacher: Teacher, images: ImageSet | None, tasks: Sequence[str]) -> Judgement:
    """Judge a student by real images, on the CPU, which sees each of them once."""
    if images is None:
        return Judgement()
    task_input = TaskInput(student=student, teacher=teacher.model, images=images, normalise=teacher.normalise)
    scores = evaluate(tasks, task_input)
    if images.labels is None:
        return Judgement(scores=scores)
    matrix = confusion_matrix(task_input.student_logits, task_input.labels, len(teacher.class_names))
    return Judgement(scores=scores, confusion=matrix.tolist())


def count_parameters(model: nn.Module) -> int:
    """Return the number of weights of a network."""
    return sum(parameter.numel() for parameter in model.parameters())

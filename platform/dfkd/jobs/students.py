"""A trained student, back from its checkpoint, and what real images say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from dfkd.assembly import build_student
from dfkd.data.image_set import ImageSet
from dfkd.settings.experiment import ExperimentSettings
from dfkd.tasks import TaskInput, evaluate
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


def judge(student: nn.Module, teacher: Teacher, images: ImageSet | None, tasks: Sequence[str]) -> dict[str, float]:
    """Score a student on real images, on the CPU; nothing where there are none."""
    if images is None:
        return {}
    task_input = TaskInput(student=student, teacher=teacher.model, images=images, normalise=teacher.normalise)
    return evaluate(tasks, task_input)


def count_parameters(model: nn.Module) -> int:
    """Return the number of weights of a network."""
    return sum(parameter.numel() for parameter in model.parameters())

"""A search's objectives beside its own one, read off a finished student."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from dfkd.data.annotated_data import BOXES, DEPTHS, MASKS
from dfkd.data.image_set import ImageSet
from dfkd.settings.objectives import CostObjective, FurtherObjective, TaskObjective, TransferObjective
from dfkd.settings.tasks import DepthSettings, DetectionSettings, SegmentationSettings
from dfkd.tasks import TASKS, TaskInput
from dfkd.tasks.cost import count_flops, latency_milliseconds
from dfkd.tasks.labelled_data import load_labelled_data
from dfkd.tasks.transfer import TransferInput
from dfkd.tasks.transfer_tasks import transfer
from dfkd.teachers.teacher import Teacher

PREFIX = "further/"  # of their names in a trial's report


def further_scores(
    objectives: Mapping[str, FurtherObjective],
    student: nn.Module,
    teacher: Teacher,
    device: torch.device,
    *,
    validation: ImageSet | None = None,
) -> dict[str, float]:
    """Return every objective by its name, with the prefix ``further/``.

    Args:
        objectives: by name.
        student: on the device; takes images as its teacher does, and stays as it is.
        teacher: says which images.
        device: of the student.
        validation: real images, of which some tasks ask.

    Raises:
        FloatingPointError: a task's loss is not finite.
        ValueError: a task's data cannot be had, or do not suit the student.
    """
    found: dict[str, float] = {}
    for name, objective in objectives.items():
        if isinstance(objective, CostObjective):
            score = _cost(objective, student, teacher.image_shape)
        elif isinstance(objective, TaskObjective):
            score = _task_score(objective, student, teacher, device, validation)
        else:
            score = _transfer_score(objective, student, teacher, device)
        found[f"{PREFIX}{name}"] = score
    return found


def check_data(
    objectives: Mapping[str, FurtherObjective],
    teacher: Teacher,
    *,
    validation: ImageSet | None = None,
    where: str = "further_objectives",
) -> None:
    """Raise ValueError unless the data of every task can be had and suit what takes images as the teacher does."""
    for name, objective in objectives.items():
        if isinstance(objective, TaskObjective):
            if validation is None or (objective.needs_labels and validation.labels is None):
                kind = "validation images with labels" if objective.needs_labels else "validation images"
                raise ValueError(f"{where}.{name}: '{objective.task}' needs {kind}, and the data have none.")
        if isinstance(objective, TransferObjective):
            try:
                _try_data(objective, TransferInput(network=teacher, exam=objective.split))
            except ValueError as error:
                raise ValueError(f"{where}.{name}.by: {error}") from error


def _try_data(objective: TransferObjective, given: TransferInput) -> None:
    task = objective.by
    if not isinstance(task, SegmentationSettings | DetectionSettings | DepthSettings):
        load_labelled_data(task.dataset, task.classes, given)
        return
    tables: dict[str, dict[str, Any]] = {"segmentation": MASKS, "detection": BOXES, "depth": DEPTHS}
    for split in ("train", given.exam):
        first = dataclasses.replace(task.dataset, max_images=1)
        given.check_channels(tables[task.task][task.dataset.name](first, split).images, task.dataset.name)


def _task_score(
    objective: TaskObjective, student: nn.Module, teacher: Teacher, device: torch.device, validation: ImageSet | None
) -> float:
    assert validation is not None, "check_data refuses it"
    model = copy.deepcopy(teacher.model).to(device)
    given = TaskInput(student=student, teacher=model, images=validation, normalise=teacher.normalise, device=device)
    return TASKS[objective.task](given)[f"{objective.task}/{objective.column}"]


def _transfer_score(objective: TransferObjective, student: nn.Module, teacher: Teacher, device: torch.device) -> float:
    network = dataclasses.replace(teacher, model=student, architecture="student", provenance="the student", hash="")
    given = TransferInput(network=network, exam=objective.split, seed=objective.seed, device=device)
    return transfer("by", objective.by, given)[f"by/{objective.column}"]


def _cost(objective: CostObjective, student: nn.Module, image_shape: tuple[int, int, int]) -> float:
    if objective.of == "parameters":
        return float(sum(parameter.numel() for parameter in student.parameters()))
    return (count_flops if objective.of == "flops" else latency_milliseconds)(student, image_shape)

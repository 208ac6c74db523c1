"""What is read off a finished student: a search's objectives beside its own one, a comparison's columns."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import nn

from dfkd.data.annotated_data import BOXES, DEPTHS, MASKS
from dfkd.data.image_set import ImageSet
from dfkd.settings.objectives import CostObjective, FurtherObjective, TaskObjective, TransferObjective
from dfkd.settings.tasks import DepthSettings, DetectionSettings, SegmentationSettings
from dfkd.tasks import TASKS, TaskInput
from dfkd.tasks.cost import count_flops, latency_milliseconds
from dfkd.tasks.features import require_backbone
from dfkd.tasks.labelled_data import load_labelled_data
from dfkd.tasks.transfer import TransferInput
from dfkd.tasks.transfer_tasks import transfer
from dfkd.teachers.teacher import Teacher

PREFIX = "further/"  # of their names in a trial's report
TEACHER_PREFIX = "further_teacher/"  # of the teacher's own numbers


def further_scores(
    objectives: Mapping[str, FurtherObjective],
    student: nn.Module,
    teacher: Teacher,
    device: torch.device,
    *,
    images: ImageSet | None = None,
) -> dict[str, float]:
    """Return every objective by its name, with the prefix ``further/``.

    Where a task asks the teacher too, its number stands there with the prefix ``further_teacher/``.

    Args:
        objectives: by name.
        student: on the device; takes images as its teacher does, and stays as it is.
        teacher: says which images.
        device: of the student.
        images: real ones of the teacher's classes, of which some tasks ask.

    Raises:
        FloatingPointError: a task's loss is not finite.
        ValueError: a task's data cannot be had, or do not suit the student.
    """
    found: dict[str, float] = {}
    task_input: TaskInput | None = None

    @cache  # a task gives all of its numbers at once, and several may be asked for
    def numbers(task: str) -> dict[str, float]:
        nonlocal task_input
        task_input = task_input or _task_input(student, teacher, device, images)
        return TASKS[task](task_input)

    for name, objective in objectives.items():
        if isinstance(objective, CostObjective):
            found[f"{PREFIX}{name}"] = _cost(objective, student, teacher.image_shape)
        elif isinstance(objective, TaskObjective):
            scores = numbers(objective.task)
            found[f"{PREFIX}{name}"] = scores[f"{objective.task}/{objective.column}"]
            if (own := scores.get(f"{objective.task}/teacher_{objective.column}")) is not None:
                found[f"{TEACHER_PREFIX}{name}"] = own
        else:
            found[f"{PREFIX}{name}"] = _transfer_score(objective, student, teacher, device)
    return found


def check_data(
    objectives: Mapping[str, FurtherObjective],
    teacher: Teacher,
    *,
    images: ImageSet | None = None,
    split: str = "validation",
    where: str = "further_objectives",
) -> None:
    """Raise ValueError unless the data of every task can be had and suit what takes images as the teacher does.

    Args:
        objectives: by name.
        teacher: takes images as the students do; one that gives logits alone is refused where features are compared.
        images: real ones of the teacher's classes, if there are any.
        split: of which they are, for messages.
        where: the objectives stand, for messages.
    """
    check_teacher(objectives, teacher, where=where)
    for name, objective in objectives.items():
        if isinstance(objective, TaskObjective):
            if images is None or (objective.needs_labels and images.labels is None):
                kind = f"{split} images with labels" if objective.needs_labels else f"{split} images"
                raise ValueError(f"{where}.{name}: '{objective.task}' needs {kind}, and the data have none.")
        if isinstance(objective, TransferObjective):
            try:
                _try_data(objective, TransferInput(network=teacher, exam=objective.split))
            except ValueError as error:
                raise ValueError(f"{where}.{name}.by: {error}") from error


def check_teacher(objectives: Mapping[str, FurtherObjective], teacher: Teacher, *, where: str) -> None:
    """Raise ValueError if features are to be compared with those of a teacher that gives logits alone."""
    for name, objective in objectives.items():
        if isinstance(objective, TaskObjective) and objective.needs_features:
            try:
                require_backbone(teacher.model, f"the teacher, {teacher.provenance}")
            except ValueError as error:
                raise ValueError(f"{where}.{name}: {error}") from error


def _try_data(objective: TransferObjective, given: TransferInput) -> None:
    task = objective.by
    if not isinstance(task, SegmentationSettings | DetectionSettings | DepthSettings):
        load_labelled_data(task.dataset, task.classes, given)
        return
    tables: dict[str, dict[str, Any]] = {"segmentation": MASKS, "detection": BOXES, "depth": DEPTHS}
    for split in ("train", given.exam):
        first = dataclasses.replace(task.dataset, max_images=1)
        given.check_channels(tables[task.task][task.dataset.name](first, split).images, task.dataset.name)


def _task_input(student: nn.Module, teacher: Teacher, device: torch.device, images: ImageSet | None) -> TaskInput:
    assert images is not None, "check_data refuses it"
    model = copy.deepcopy(teacher.model).to(device)
    return TaskInput(student=student, teacher=model, images=images, normalise=teacher.normalise, device=device)


def _transfer_score(objective: TransferObjective, student: nn.Module, teacher: Teacher, device: torch.device) -> float:
    network = dataclasses.replace(teacher, model=student, architecture="student", provenance="the student", hash="")
    given = TransferInput(network=network, exam=objective.split, seed=objective.seed, device=device)
    return transfer("by", objective.by, given)[f"by/{objective.column}"]


def _cost(objective: CostObjective, student: nn.Module, image_shape: tuple[int, int, int]) -> float:
    if objective.of == "parameters":
        return float(sum(parameter.numel() for parameter in student.parameters()))
    return (count_flops if objective.of == "flops" else latency_milliseconds)(student, image_shape)

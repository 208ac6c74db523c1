"""Use from Python: a student for a teacher that is an ``nn.Module`` of yours, on plain PyTorch.

What the commands do beside it (searches, Ray, MLflow, files) is not here, and none of those libraries is imported.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from dfkd.assembly import build_distillation, choose_device, find_device
from dfkd.distillation import EpochReport, distill
from dfkd.probe_set import SIZE, STEPS, ProbeSet, make_probe_set, score_on_probe
from dfkd.settings.distillation import DistillationSettings
from dfkd.settings.experiment import (
    DatasetSettings,
    ExperimentSettings,
    LabelEmbeddingSettings,
    StudentSettings,
    TeacherSettings,
)
from dfkd.settings.synthesis import CategoryAwareSettings, SynthesisSettings
from dfkd.tasks.protocol import predict_logits
from dfkd.teachers import Teacher
from dfkd.teachers.loading import try_two_images

DeviceName = Literal["auto", "cpu", "cuda"]
_GIVEN = "digits_student"  # stands in settings where a module is given instead, and is never built


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DistilledStudent:
    """A trained student and how it came about.

    Attributes:
        student: in evaluation mode, on the training device; takes what its teacher takes.
        history: a report an epoch; ``metrics`` are means over it, ``preview`` are synthetic images.
    """

    student: nn.Module
    history: tuple[EpochReport, ...]


def distill_student(
    teacher: Teacher,
    student: str | nn.Module,
    *,
    synthesis: SynthesisSettings | None = None,
    distillation: DistillationSettings | None = None,
    label_embeddings: LabelEmbeddingSettings | Tensor | None = None,
    crop_padding: int = 4,
    horizontal_flip: bool = True,
    seed: int = 0,
    device: DeviceName = "auto",
    on_epoch: Callable[[EpochReport], object] | None = None,
) -> DistilledStudent:
    """Train a student from its teacher alone; no image of anybody's is asked for.

    Args:
        teacher: stays as it is; a copy of its network is used.
        student: architecture, as ``student.architecture`` of a config, or an untrained network of your own, which is
            moved to the device and trained in place. Methods with a loss on features need what ``Backbone`` has.
        synthesis: the method and its settings; None is CAE-DFKD by NAYER's public schedule, which takes a GPU.
        distillation: how the student learns; None is NAYER's public settings for CIFAR.
        label_embeddings: where the vectors of the class names come from, or the vectors themselves, [K, E] float.
        crop_padding: pixels by which a random crop may shift an image without changing its label.
        horizontal_flip: whether a mirrored image keeps its label.
        seed: of everything random.
        device: ``auto`` takes CUDA where there is one.
        on_epoch: called with every epoch's report, e.g. to print it.

    Raises:
        ValueError: if teacher, student and settings do not go together.
        FloatingPointError: if a loss is not finite.
    """
    vectors = label_embeddings if isinstance(label_embeddings, Tensor) else None
    settings = ExperimentSettings(
        seed=seed,
        dataset=DatasetSettings(crop_padding=crop_padding, horizontal_flip=horizontal_flip),
        teacher=TeacherSettings(architecture=_GIVEN),
        student=StudentSettings(architecture=student if isinstance(student, str) else _GIVEN),
        label_embeddings=label_embeddings
        if isinstance(label_embeddings, LabelEmbeddingSettings)
        else LabelEmbeddingSettings(),
        synthesis=synthesis or CategoryAwareSettings(),
        distillation=distillation or DistillationSettings(),
        device=device,
    )
    network = _evaluated_copy(teacher)
    try_two_images(network, image_shape=teacher.image_shape, num_classes=len(teacher.class_names), source="the network")
    run = build_distillation(
        settings,
        teacher,
        device=choose_device(settings),
        label_embeddings=None if vectors is None else vectors.float(),
        student=student if isinstance(student, nn.Module) else None,
    )
    history = []
    for report in distill(run):
        history.append(report)
        if on_epoch is not None:
            on_epoch(report)
    return DistilledStudent(student=run.pair.student.eval(), history=tuple(history))


def probe_set_of(teacher: Teacher, *, size: int = SIZE, steps: int = STEPS, device: DeviceName = "cpu") -> ProbeSet:
    """Make the synthetic exam on which students of this teacher are compared without data: see ``dfkd.probe_set``.

    Args:
        teacher: stays as it is.
        size: number of images wanted.
        steps: optimisation steps; fewer make a quicker and poorer exam.
        device: where the teacher computes; ``cpu`` gives the exam that the commands give, another one rounds otherwise.
    """
    return make_probe_set(
        _evaluated_copy(teacher).to(find_device(device)),
        image_shape=teacher.image_shape,
        num_classes=len(teacher.class_names),
        mean=teacher.mean,
        std=teacher.std,
        teacher_hash=teacher.hash,
        size=size,
        steps=steps,
    )


def score_student(student: nn.Module, teacher: Teacher, probe: ProbeSet) -> dict[str, float]:
    """Return what ``score_on_probe`` says of a student; agreement with its teacher on an exam is no accuracy."""
    device = next((parameter.device for parameter in student.parameters()), torch.device("cpu"))
    return score_on_probe(predict_logits(student, probe.images, normalise=teacher.normalise, device=device), probe)


def _evaluated_copy(teacher: Teacher) -> nn.Module:
    return copy.deepcopy(teacher.model).cpu().eval()

"""A student that is not distilled, measured as those that are: untrained, or trained on labelled real images."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass

from dfkd.assembly import Materials, StudentEvaluation, build_domain, build_student, choose_device
from dfkd.cluster.measured_run import WALL_KEY, Measured, hardware, peak_memory
from dfkd.cluster.worker import RUN_ERRORS
from dfkd.data.image_set import ImageSet
from dfkd.domain import Domain
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.objectives import ComparedObjective
from dfkd.supervised import train_teacher
from dfkd.tasks.further_objectives import further_scores
from dfkd.teacher_student import TeacherStudent


@dataclass(slots=True)
class _Pair:
    """What is judged."""

    pair: TeacherStudent
    domain: Domain


def run_reference(
    settings: ExperimentSettings,
    materials: Materials,
    train: ImageSet | None,
    transfer: Mapping[str, ComparedObjective],
) -> Measured:
    """Return the scores of a student of these settings that learnt from no teacher, as one epoch's report.

    Its initial weights are those of the distilled students of the same seed.

    Args:
        settings: of the experiment; on labels the student is trained as its teacher is, under the experiment's seed.
        materials: teacher and real images for the report.
        train: labelled images to train it on; None leaves it untrained.
        transfer: what it is put to, by name, some of it on the test images.
    """
    device, began = choose_device(settings), time.monotonic()
    try:
        student = build_student(settings, materials.teacher).to(device)
        training = dataclasses.replace(settings.teacher.training, seed=settings.seed, poison=None)
        if train is not None:
            epochs = train_teacher(
                student,
                train,
                training,
                mean=materials.teacher.mean,
                std=materials.teacher.std,
                crop_padding=settings.dataset.crop_padding if training.crop_padding is None else training.crop_padding,
                horizontal_flip=settings.dataset.horizontal_flip,
                device=device,
            )
            for _ in epochs:
                pass
        seconds = time.monotonic() - began
        pair = TeacherStudent(copy.deepcopy(materials.teacher.model).to(device), student)
        judged = _Pair(pair, build_domain(settings, materials.teacher))
        report = StudentEvaluation(judged, settings, materials)()
        memory, wall = peak_memory(device), time.monotonic() - began
        report |= further_scores(transfer, student, materials.teacher, device, images=materials.test)
    except RUN_ERRORS as error:
        return Measured(reports=[], hardware=hardware(device), error=" ".join(str(error).split()))
    times = {"time/distillation_seconds": seconds, WALL_KEY: wall}
    return Measured(
        reports=[report | times | {"epoch": 0}],
        peak_memory=memory,
        parameters={"student": sum(parameter.numel() for parameter in student.parameters())},
        hardware=hardware(device),
    )

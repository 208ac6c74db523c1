from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from dfkd.assembly import Materials, build_student
from dfkd.cluster.reference_run import run_reference
from dfkd.settings.experiment import DatasetSettings, ExperimentSettings
from dfkd.settings.objectives import TaskObjective, TransferObjective
from dfkd.settings.tasks import FewShotSettings

Make = Callable[..., ExperimentSettings]


@pytest.fixture
def materials(tiny_materials: Materials) -> Materials:
    return dataclasses.replace(tiny_materials, test=tiny_materials.validation, probe=None)


def test_an_untrained_student_is_judged_as_it_is(tiny_settings: Make, materials: Materials) -> None:
    settings = tiny_settings()
    measured = run_reference(settings, materials, None, {})
    (report,) = measured.reports
    assert measured.error is None and report["epoch"] == 0 and "test/accuracy/top1" in report
    assert measured.parameters["student"] == sum(
        p.numel() for p in build_student(settings, materials.teacher).parameters()
    )
    assert numbers(run_reference(settings, materials, None, {}).reports[0]) == numbers(report)


def test_a_student_of_labels_learns_them(tiny_settings: Make, materials: Materials) -> None:
    settings, images = tiny_settings(), materials.validation
    assert images is not None and images.labels is not None
    bright = torch.zeros_like(images.images)
    bright[images.labels == 1] = 255
    easy = dataclasses.replace(images, images=bright, labels=(images.labels == 1).long())
    known = dataclasses.replace(materials, validation=easy, test=easy)
    training = dataclasses.replace(settings.teacher.training, epochs=20, batch_size=8)
    settings = dataclasses.replace(settings, teacher=dataclasses.replace(settings.teacher, training=training))
    before, after = (run_reference(settings, known, train, {}).reports[0] for train in (None, easy))
    assert after["test/accuracy/top1"] == 1.0 > before["test/accuracy/top1"]


def test_its_features_are_put_to_tasks_and_a_failure_is_told(tiny_settings: Make, materials: Materials) -> None:
    digits = DatasetSettings(name="digits", title="digits")
    task = TransferObjective(by=FewShotSettings(shots=(2,), draws=2, dataset=digits))
    (report,) = run_reference(tiny_settings(), materials, None, {"few": task}).reports
    assert 0 < report["further/few"] < 1
    nowhere = dataclasses.replace(task, by=dataclasses.replace(task.by, classes=(98, 99)))
    failed = run_reference(tiny_settings(), materials, None, {"few": nowhere})
    assert failed.error is not None and "98" in failed.error and not failed.reports


def test_tasks_on_real_images_are_done_on_the_test_split(tiny_settings: Make, materials: Materials) -> None:
    images = materials.validation
    assert images is not None and images.labels is not None
    test = dataclasses.replace(images, images=images.images[:20].flip(0), labels=images.labels[:20].flip(0))
    columns = {"same": TaskObjective(task="agreement", score="kl"), "sure": TaskObjective(task="calibration")}
    settings = dataclasses.replace(tiny_settings(), tasks=("accuracy", "agreement", "calibration"))
    (report,) = run_reference(settings, dataclasses.replace(materials, test=test), None, columns).reports
    assert report["further/same"] == report["test/agreement/kl"] != report["val/agreement/kl"]
    assert report["further/sure"] == report["test/calibration/ece"]
    assert report["further_teacher/sure"] == report["test/calibration/teacher_ece"] != report["further/sure"]


def numbers(report: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in report.items() if not name.startswith(("time/", "system/"))}

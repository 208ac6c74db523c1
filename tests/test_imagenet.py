"""Networks and images of ImageNet's size through the platform: its search space as it stands, in tiny batches."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from dfkd.assembly import build_distillation
from dfkd.distillation import distill
from dfkd.search.space import load_search_space
from dfkd.settings.experiment import ExperimentSettings, StudentSettings
from dfkd.teachers import Teacher, build_network

SPACE = Path(__file__).parents[1] / "search_spaces" / "imagenet_cae.yaml"
TINY = (
    "workers=1", "synthesis.generator.width=8", "synthesis.batch_size=6", "synthesis.generator_steps=1",
    "synthesis.warm_up_epochs=1", "synthesis.warm_up_rounds=1", "synthesis.rounds_per_epoch=1",
    "synthesis.bank_capacity=6", "distillation.epochs=1", "distillation.steps_per_epoch=1",
    "distillation.batch_size=2", "device=cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def settings() -> ExperimentSettings:
    return load_search_space(SPACE, TINY).resolve({})


@pytest.fixture(scope="module")
def teacher(settings: ExperimentSettings) -> Teacher:
    """ResNet-50 as torchvision builds it, never trained."""
    torch.manual_seed(0)
    architecture = settings.teacher.architecture
    assert architecture and settings.teacher.mean and settings.teacher.std
    return Teacher(
        model=build_network(architecture, num_classes=1000, in_channels=3).eval(),
        architecture=architecture,
        class_names=tuple(f"n{index:08d}" for index in range(1000)),
        image_shape=(3, 224, 224),
        mean=settings.teacher.mean,
        std=settings.teacher.std,
        provenance="made in a test",
    )


@pytest.mark.slow
@pytest.mark.parametrize("student", ["torchvision:resnet18", "torchvision:mobilenet_v2"])
def test_resnet50_is_distilled_at_224_pixels(settings: ExperimentSettings, teacher: Teacher, student: str) -> None:
    chosen = dataclasses.replace(settings, student=StudentSettings(architecture=student))
    run = build_distillation(chosen, teacher, device=torch.device("cpu"))
    before = [parameter.clone() for parameter in run.pair.student.parameters()]
    reports = list(distill(run))
    assert len(reports) == 2 and reports[-1].metrics["distillation/kd"] > 0
    assert all(math.isfinite(value) for report in reports for value in report.metrics.values())
    assert any(not torch.equal(one, other) for one, other in zip(before, run.pair.student.parameters(), strict=True))
    assert run.synthesizer.sample(2).images.shape == (2, 3, 224, 224)

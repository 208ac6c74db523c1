"""Transformers and ConvNeXts have no BatchNorm: a student of them all the same."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dfkd.assembly import build_distillation
from dfkd.distillation import distill
from dfkd.settings.experiment import ExperimentSettings, TeacherSettings
from dfkd.settings.synthesis import DaflSettings, DfadSettings, GeneratorSettings
from dfkd.teachers import Teacher, build_network, load_teacher, save_teacher

Make = Callable[..., ExperimentSettings]
VIT = "timm:test_vit?img_size=8&patch_size=2&embed_dim=24&num_heads=2&depth=2"
CONVNEXT = "timm:convnext_atto?depths=[1,1,1,1]&dims=[8,8,16,16]&patch_size=1"
CLASSES = ("cat", "dog", "eel")
ONLINE: dict[str, Any] = {"batch_size": 16, "latent_width": 8, "generator": GeneratorSettings(width=4)}

pytestmark = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs the extra [timm]")


def from_file(architecture: str, folder: Path) -> Teacher:
    torch.manual_seed(0)
    model = build_network(architecture, num_classes=3, in_channels=1).eval()
    file = folder / "teacher.safetensors"
    teacher = Teacher(
        model=model, architecture=architecture, class_names=CLASSES, image_shape=(1, 8, 8), mean=(0.3,), std=(0.4,),
        provenance="made in a test",
    )  # fmt: skip
    save_teacher(file, teacher)
    loaded = load_teacher(TeacherSettings(weights=str(file)), image_shape=(1, 8, 8), class_names=CLASSES)
    assert loaded.hash == teacher.hash
    return loaded


def distilled(settings: ExperimentSettings, teacher: Teacher) -> list[dict[str, float]]:
    run = build_distillation(settings, teacher, device=torch.device("cpu"))
    before = [parameter.clone() for parameter in run.pair.student.parameters()]
    metrics = [report.metrics for report in distill(run)]
    assert any(not torch.equal(one, other) for one, other in zip(before, run.pair.student.parameters(), strict=True))
    return metrics


@pytest.mark.parametrize("architecture", [VIT, CONVNEXT])
def test_a_teacher_from_a_file_is_distilled_or_refused_with_a_way_out(
    architecture: str, tiny_settings: Make, tmp_path: Path
) -> None:
    teacher, cae = from_file(architecture, tmp_path), tiny_settings()
    with pytest.raises(
        ValueError, match=rf"weights.batch_norm: is 10, but the teacher '{architecture[:8]}.*Set it to 0"
    ):
        build_distillation(cae, teacher, device=torch.device("cpu"))
    weights = dataclasses.replace(cae.synthesis.weights, batch_norm=0.0)  # type: ignore[union-attr]
    ways_out = [
        dataclasses.replace(cae.synthesis, weights=weights),  # type: ignore[call-arg]
        DaflSettings(**ONLINE),
        DfadSettings(**ONLINE),
    ]
    for synthesis in ways_out:
        metrics = distilled(dataclasses.replace(cae, synthesis=synthesis), teacher)
        assert all(math.isfinite(value) for epoch in metrics for value in epoch.values())

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dfkd.assembly import build_method
from dfkd.distillation import Distillation, student_step
from dfkd.domain import Domain
from dfkd.models import build_model
from dfkd.settings.distillation import DistillationSettings
from dfkd.settings.synthesis import RandomNoiseSettings
from dfkd.teacher_student import TeacherStudent

TEN_STEPS = 10


@pytest.fixture
def resnets() -> Callable[..., Distillation]:
    """Build a run on ResNet-20 and ResNet-8 in the layout of a run, whose images are noise."""

    def make(**settings: Any) -> Distillation:
        torch.manual_seed(0)
        teacher, student = (build_model(name, num_classes=10, in_channels=3) for name in ("resnet20", "resnet8"))
        with torch.no_grad():
            for _ in range(20):
                teacher.train()(torch.randn(32, 3, 16, 16))  # statistics of its own
        teacher.eval()
        layout: Any = torch.channels_last
        pair = TeacherStudent(teacher.to(memory_format=layout), student.to(memory_format=layout))
        domain = Domain(
            class_names=tuple("abcdefghij"),
            channels=3,
            height=16,
            width=16,
            mean=(0.5,) * 3,
            std=(0.25,) * 3,
            label_embeddings=torch.eye(10),
        )
        random = torch.Generator().manual_seed(0)
        method = build_method(RandomNoiseSettings(), pair, domain, random)
        return Distillation(
            pair, method, domain, DistillationSettings(batch_size=32, learning_rate=0.05, **settings), random
        )

    return make


def weights_after_ten_steps(run: Distillation) -> Tensor:
    for _ in range(TEN_STEPS):
        student_step(run)
    return torch.cat([parameter.detach().flatten() for parameter in run.network.parameters()])


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def test_a_student_of_the_folded_teacher_is_the_same_after_ten_steps(resnets: Callable[..., Distillation]) -> None:
    run, plain = resnets(), resnets()
    assert run.folded_teacher is not run.pair.teacher
    plain.folded_teacher = plain.pair.teacher
    assert distance(weights_after_ten_steps(run), weights_after_ten_steps(plain)) < 1e-5


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on a CPU")
def test_a_student_of_the_compiled_teacher_is_the_same_after_ten_steps(resnets: Callable[..., Distillation]) -> None:
    run, plain = resnets(compile_teacher=True), resnets()
    assert run.folded_teacher is not plain.folded_teacher
    assert distance(weights_after_ten_steps(run), weights_after_ten_steps(plain)) < 1e-5


def test_a_machine_without_a_compiler_is_told_before_the_first_step(tmp_path: Path) -> None:
    code = "from torch import nn; from dfkd.compilation import compile_frozen; compile_frozen(nn.Linear(2, 2))"
    nothing = str(tmp_path)
    environment = os.environ | {"PATH": nothing, "CXX": f"{nothing}/g++", "TORCHINDUCTOR_CACHE_DIR": nothing}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: distillation.compile_teacher: torch.compile does not work on this machine")
    assert "C++ compiler" in last

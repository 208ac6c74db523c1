import importlib.util
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dfkd.assembly import Materials
from dfkd.compression import check_compressible, num_bytes
from dfkd.jobs.compression import CompressedScores, as_metrics, in_words, score_compressed
from dfkd.settings.compression import CompressionSettings
from dfkd.settings.experiment import ExperimentSettings, StudentSettings
from dfkd.teachers import build_network

Make = Callable[..., ExperimentSettings]
WITHOUT_INT8 = CompressionSettings(sparsities=(0.0, 0.5), match_student=False, int8=False)


@pytest.fixture
def synthetic() -> Tensor:
    return torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(3))


def test_versions_are_scored_beside_the_teacher(
    tiny_settings: Make, tiny_materials: Materials, synthetic: Tensor
) -> None:
    teacher, test = tiny_materials.teacher, tiny_materials.validation
    whole, half = score_compressed(tiny_settings(), teacher, synthetic, test, compression=WITHOUT_INT8)
    assert (whole.title, half.title) == ("teacher, 0% pruned", "teacher, 50% pruned")
    assert whole.scores["agreement/top1"] == whole.scores["accuracy/ratio"] == 1.0
    assert half.scores["agreement/kl"] > whole.scores["agreement/kl"]
    assert half.num_bytes < 0.65 * half.teacher_bytes
    assert half.student_bytes == half.teacher_bytes  # of one architecture here


def test_one_version_has_the_students_size(tiny_settings: Make, tiny_materials: Materials, synthetic: Tensor) -> None:
    teacher = tiny_materials.teacher
    large = replace(tiny_settings(), student=StudentSettings(architecture="resnet8"))
    settings = CompressionSettings(sparsities=(), int8=False)
    assert score_compressed(large, teacher, synthetic, None, compression=settings) == []  # the student is the larger
    big = replace(
        teacher, model=build_network("resnet8", num_classes=3, in_channels=1).eval(), architecture="resnet8", hash=""
    )
    (row,) = score_compressed(tiny_settings(), big, synthetic, None, compression=settings)
    assert row.title == "teacher, pruned to the student's size" and row.scores == {}
    assert row.num_bytes == pytest.approx(num_bytes(teacher.model), abs=8)


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs the extra [export]")
def test_int8_is_the_last_row(tiny_settings: Make, tiny_materials: Materials, synthetic: Tensor) -> None:
    settings = CompressionSettings(sparsities=(0.3,), match_student=False)
    pruned, row = score_compressed(
        tiny_settings(), tiny_materials.teacher, synthetic, tiny_materials.validation, compression=settings
    )
    assert (row.title, row.sparsity) == ("teacher, int8", None)
    assert row.scores["agreement/top1"] >= 0.9
    assert row.num_bytes < 0.4 * row.teacher_bytes


def test_a_teacher_that_cannot_be_pruned_or_exported_is_refused_before_the_distillation(
    tiny_materials: Materials,
) -> None:
    class Closed(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :3] if images.sum() > 0 else images.flatten(1)[:, 3:6]

    closed = replace(tiny_materials.teacher, model=Closed(), hash="unknown")
    with pytest.raises(ValueError, match="could be pruned .*Ask for int8 alone"):
        check_compressible(closed, CompressionSettings(int8=False))
    if importlib.util.find_spec("onnxruntime") is not None:
        with pytest.raises(ValueError, match="cannot be written as ONNX"):
            check_compressible(closed, CompressionSettings(sparsities=(), match_student=False))


def test_a_row_in_words_and_as_metrics_that_mlflow_takes() -> None:
    row = CompressedScores(
        title="teacher, pruned to the student's size", num_bytes=250_000, teacher_bytes=1_000_000,
        student_bytes=250_000, sparsity=0.7, scores={"accuracy/top1": 0.5},
    )  # fmt: skip
    assert in_words(row) == (
        "  teacher, pruned to the student's size: accuracy 50.0 %, agreement -, 0.250 MB (teacher 1.000, student 0.250)"
    )
    metrics = as_metrics([row, replace(row, title="teacher, 80% pruned")])
    assert metrics["compressed/pruned_to_the_students_size/accuracy/top1"] == 0.5
    assert metrics["compressed/80_percent_pruned/megabytes"] == 0.25
    assert all(re.fullmatch(r"[\w/]+", name) for name in metrics)


def test_sparsities_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sparsities: expected a fraction in \[0, 1\), got 1.0"):
        CompressionSettings(sparsities=(1.0,))
    with pytest.raises(ValueError, match="sparsities: expected each at most once"):
        CompressionSettings(sparsities=(0.5, 0.5))

"""The smaller versions of one teacher that are scored beside its students."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dfkd.compression.pruning import check_prunable, prune, pruned_bytes, sparsity_for
from dfkd.compression.quantisation import quantise
from dfkd.export import require_onnx, write_onnx
from dfkd.settings.compression import CompressionSettings
from dfkd.teachers import Teacher


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Compressed:
    """A smaller version of a teacher; it is judged as a student is.

    Attributes:
        title: how tables call it.
        network: maps images [B, C, H, W], normalised as for the teacher, to logits [B, K]; on the CPU.
        num_bytes: of its numbers.
        sparsity: share of weights that are zero; None where nothing was pruned.
    """

    title: str
    network: nn.Module
    num_bytes: int
    sparsity: float | None


def check_compressible(teacher: Teacher, settings: CompressionSettings) -> None:
    """Raise ValueError if ``compress`` would: for whoever trains for hours before it."""
    if settings.sparsities or settings.match_student:
        check_prunable(teacher.model)
    if settings.int8:
        require_onnx("compression.int8")
        with tempfile.TemporaryDirectory() as folder:
            write_onnx(teacher.model, Path(folder) / "tried.onnx", example=torch.zeros(2, *teacher.image_shape))


def compress(
    teacher: Teacher, images: Tensor, settings: CompressionSettings, *, student_bytes: int | None = None
) -> list[Compressed]:
    """Prune and quantise a teacher.

    Args:
        teacher: stays as it is; on the CPU.
        images: synthetic, [N, C, H, W] in [0, 1], on the CPU, N at least 2; both are calibrated on them.
        settings: which versions.
        student_bytes: the size that one version is pruned to; None leaves that version out.

    Raises:
        ValueError: packages that int8 needs are missing, or the teacher cannot be pruned or written as ONNX.
    """
    if settings.int8:
        require_onnx("compression.int8")  # before anything is computed
    calibration = teacher.normalise(images)
    sparsities = {f"teacher, {share:.0%} pruned": share for share in settings.sparsities}
    if settings.match_student and student_bytes is not None:
        matching = sparsity_for(teacher.model, student_bytes)
        if matching is not None:
            sparsities["teacher, pruned to the student's size"] = matching
    versions = []
    for title, sparsity in sparsities.items():
        pruned = prune(teacher.model, calibration, sparsity=sparsity)
        versions.append(Compressed(title=title, network=pruned, num_bytes=pruned_bytes(pruned), sparsity=sparsity))
    if settings.int8:
        rounded = quantise(teacher.model, calibration)
        versions.append(
            Compressed(title="teacher, int8", network=rounded, num_bytes=rounded.num_bytes(), sparsity=None)
        )
    return versions

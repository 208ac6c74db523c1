"""The teacher itself, pruned and quantised, calibrated on what a finished distillation synthesised."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dfkd.assembly import build_student
from dfkd.compression import compress, num_bytes
from dfkd.data.image_set import ImageSet
from dfkd.jobs.console import percent
from dfkd.jobs.students import judge
from dfkd.settings.compression import CompressionSettings
from dfkd.settings.experiment import ExperimentSettings
from dfkd.teachers import Teacher

IN_KEYS = str.maketrans({"%": "_percent", " ": "_", "'": None})  # what MLflow does not take in a metric's name


@dataclass(frozen=True, kw_only=True, slots=True)
class CompressedScores:
    """One smaller version of a teacher.

    Attributes:
        title: how tables call it.
        num_bytes: of its numbers.
        teacher_bytes: of the teacher's, in float32.
        student_bytes: of the student's, in float32.
        sparsity: share of weights that are zero; None where nothing was pruned.
        scores: as of a student, by ``<task>/<metric>``: accuracy, ratio, agreement with the teacher.
    """

    title: str
    num_bytes: int
    teacher_bytes: int
    student_bytes: int
    sparsity: float | None
    scores: dict[str, float]


def score_compressed(
    settings: ExperimentSettings,
    teacher: Teacher,
    synthetic: Tensor,
    test: ImageSet | None,
    *,
    compression: CompressionSettings | None = None,
) -> list[CompressedScores]:
    """Prune and quantise a teacher, and judge each version on the test images as a student is judged.

    Args:
        settings: of a distillation from this teacher: its student's size is matched, its tasks are asked.
        teacher: stays as it is.
        synthetic: images [N, C, H, W] in [0, 1] that the versions are calibrated on: see ``draw_images``.
        test: what they are judged on, once; without it, there are only sizes.
        compression: which versions; None for the defaults.

    Raises:
        ValueError: packages that int8 needs are missing, or the teacher cannot be pruned or written as ONNX.
    """
    student_bytes = num_bytes(build_student(settings, teacher))
    versions = compress(teacher, synthetic, compression or CompressionSettings(), student_bytes=student_bytes)
    return [
        CompressedScores(
            title=version.title,
            num_bytes=version.num_bytes,
            teacher_bytes=num_bytes(teacher.model),
            student_bytes=student_bytes,
            sparsity=version.sparsity,
            scores=judge(version.network, teacher, test, settings.tasks).scores,
        )
        for version in versions
    ]


def as_metrics(rows: list[CompressedScores]) -> dict[str, float]:
    """Return scores and sizes under ``compressed/<title>/``."""
    metrics: dict[str, float] = {}
    for row in rows:
        prefix = f"compressed/{row.title.removeprefix('teacher, ').translate(IN_KEYS)}"
        metrics |= {f"{prefix}/{name}": value for name, value in row.scores.items()}
        metrics[f"{prefix}/megabytes"] = row.num_bytes / 1e6
    return metrics


def in_words(row: CompressedScores) -> str:
    """Return size, accuracy and agreement in one line."""
    own, teacher, student = (f"{size / 1e6:.3f}" for size in (row.num_bytes, row.teacher_bytes, row.student_bytes))
    accuracy, agreement = row.scores.get("accuracy/top1"), row.scores.get("agreement/top1")
    return (
        f"  {row.title}: accuracy {percent(accuracy)}, agreement {percent(agreement)}, "
        f"{own} MB (teacher {teacher}, student {student})"
    )

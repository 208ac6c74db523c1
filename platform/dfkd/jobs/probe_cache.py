"""The probe set of a teacher, made once and kept in the home folder; and which exam an objective is of."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from safetensors.torch import load_file, save_file

from dfkd.assembly import Materials
from dfkd.probe_set import RECIPE_VERSION, ProbeSet, make_probe_set
from dfkd.teachers import Teacher


def obtain_probe_set(teacher: Teacher, home: Path) -> ProbeSet:
    """Return the teacher's probe set: from the home folder, or made now and kept there."""
    if (known := known_probe_set(teacher.hash, home)) is not None:
        return known
    file = _file(teacher.hash, home)
    probe = make_probe_set(
        teacher.model,
        image_shape=teacher.image_shape,
        num_classes=len(teacher.class_names),
        mean=teacher.mean,
        std=teacher.std,
        teacher_hash=teacher.hash,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}.partial")
    save_file({"images": probe.images.contiguous(), "teacher_logits": probe.teacher_logits.contiguous()}, partial)
    os.replace(partial, file)
    return probe


def known_probe_set(teacher_hash: str, home: Path) -> ProbeSet | None:
    """Return the probe set of a teacher from the home folder; None if it was never made there."""
    file = _file(teacher_hash, home)
    if not file.exists():
        return None
    stored = load_file(file)
    return ProbeSet(images=stored["images"], teacher_logits=stored["teacher_logits"])


def forget_probe_set(teacher_hash: str, home: Path) -> None:
    """Remove the probe set of a teacher, those of earlier recipes and of writers that died too."""
    for file in (home / "probe_sets").glob(f"{teacher_hash}-v*"):
        file.unlink(missing_ok=True)


def _file(teacher_hash: str, home: Path) -> Path:
    return home / "probe_sets" / f"{teacher_hash}-v{RECIPE_VERSION}.safetensors"


def probe_hash(probe: ProbeSet) -> str:
    """Return a hash of the probe's images: scores of equal probes can be compared."""
    return hashlib.sha256(probe.images.numpy().tobytes()).hexdigest()[:16]


def exam_hash(metric: str, materials: Materials) -> str:
    """Return a hash of the images that give an objective's values: those of one exam can be compared.

    Args:
        metric: key of a trial's reports: ``probe/...``, or ``val/...`` for real validation images.
        materials: of the search; has what the metric is computed from.
    """
    if metric.startswith("probe/"):
        assert materials.probe is not None
        return probe_hash(materials.probe)
    assert metric.startswith("val/") and materials.validation is not None, metric
    return materials.validation.fingerprint()

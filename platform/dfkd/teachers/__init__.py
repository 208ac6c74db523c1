"""Where teachers come from, and what is known of them."""

from __future__ import annotations

from dfkd.teachers.early_check import try_weights
from dfkd.teachers.loading import Foreign, ForeignModelError, Registry, load_teacher
from dfkd.teachers.networks import build_network
from dfkd.teachers.saving import save_teacher
from dfkd.teachers.teacher import Teacher, check_classes, hash_teacher, require_batch_norm, require_statistics

__all__ = [
    "Foreign",
    "ForeignModelError",
    "Registry",
    "Teacher",
    "build_network",
    "check_classes",
    "hash_teacher",
    "load_teacher",
    "require_batch_norm",
    "require_statistics",
    "save_teacher",
    "try_weights",
]

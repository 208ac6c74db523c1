"""Where teachers come from, and what is known of them."""

from __future__ import annotations

from dfkd.teachers.loading import Registry, Unpickle, load_teacher, refuse_pickle
from dfkd.teachers.networks import build_network
from dfkd.teachers.saving import save_teacher
from dfkd.teachers.teacher import Teacher, check_classes, hash_weights, require_batch_norm

__all__ = [
    "Registry",
    "Teacher",
    "Unpickle",
    "build_network",
    "check_classes",
    "hash_weights",
    "load_teacher",
    "refuse_pickle",
    "require_batch_norm",
    "save_teacher",
]

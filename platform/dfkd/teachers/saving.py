"""Writing a teacher as a safetensors file that says which network it is and what it expects."""

from __future__ import annotations

import json
import os
from pathlib import Path

from safetensors.torch import save_file

from dfkd.teachers.exported import ExportedNetwork
from dfkd.teachers.teacher import Teacher


def save_teacher(path: Path, teacher: Teacher) -> None:
    """Write weights and description to ``path``, which ``load_teacher`` reads; never half a file.

    Args:
        path: ends in ``.safetensors``; its folder is made if need be.
        teacher: with a network that can be built by name.

    Raises:
        ValueError: for an exported network, which is its own file, or another suffix.
    """
    if isinstance(teacher.model, ExportedNetwork):
        raise ValueError(f"teacher: '{teacher.provenance}' is an exported graph; copy its file, it cannot be rebuilt.")
    if path.suffix != ".safetensors":
        raise ValueError(f"path: expected a file ending in .safetensors, got {path}.")
    state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in teacher.model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    save_file(state, unfinished, metadata=_metadata(teacher))
    os.replace(unfinished, path)


def _metadata(teacher: Teacher) -> dict[str, str]:
    channels, height, width = teacher.image_shape
    return {
        "architecture": teacher.architecture,
        "class_names": json.dumps(teacher.class_names),
        "num_classes": str(len(teacher.class_names)),
        "input_mean": json.dumps(teacher.mean),
        "input_std": json.dumps(teacher.std),
        "input_size": str(height) if height == width else json.dumps([height, width]),
        "channels": str(channels),
        "source": teacher.provenance,
    }

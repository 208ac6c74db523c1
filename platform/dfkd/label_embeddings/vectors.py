"""``LabelVectors``: vectors of named classes in a safetensors file, with the record of how they were made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dfkd.settings.checks import did_you_mean
from dfkd.settings.experiment import LabelEmbeddingSettings


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabelVectors:
    """One row a class.

    Attributes:
        embeddings: [K, E] float32.
        class_names: K names, in the order of the rows; None if the file does not say.
        encoder: what made the rows, with the hash of its weights.
        prompt: what the encoder read, with the place holder {class}.
    """

    embeddings: Tensor
    class_names: tuple[str, ...] | None
    encoder: str = "unknown"
    prompt: str = "unknown"


def canonical(name: str) -> str:
    """Return a class name as it is compared: lower case, underscores as spaces."""
    return " ".join(name.replace("_", " ").casefold().split())


def read_vectors(path: Path) -> LabelVectors:
    """Return the vectors of a safetensors file with a tensor ``embeddings`` [K, E].

    Raises:
        ValueError: if the file is missing or damaged, or holds no such tensor.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if "embeddings" not in file.keys():  # noqa: SIM118 - this is no dict
                raise ValueError(f"{path}: expected a tensor 'embeddings', got {', '.join(file.keys()) or 'none'}.")
            embeddings: Tensor = file.get_tensor("embeddings").float()
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: expected a safetensors file with a tensor 'embeddings' [K, E]; {error}.") from error
    if embeddings.dim() != 2:
        raise ValueError(f"{path}: expected 'embeddings' to be [K, E], got {list(embeddings.shape)}.")
    names = tuple(json.loads(metadata["class_names"])) if "class_names" in metadata else None
    if names is not None and len(names) != len(embeddings):
        raise ValueError(f"{path}: expected one row a class name, got {len(embeddings)} rows and {len(names)} names.")
    known = {key: metadata[key] for key in ("encoder", "prompt") if key in metadata}
    return LabelVectors(embeddings=embeddings, class_names=names, **known)


def write_vectors(path: Path, vectors: LabelVectors) -> None:
    """Write a file that ``read_vectors`` reads."""
    metadata = {"encoder": vectors.encoder, "prompt": vectors.prompt}
    if vectors.class_names is not None:
        metadata["class_names"] = json.dumps(vectors.class_names)
    save_file({"embeddings": vectors.embeddings.contiguous()}, str(path), metadata=metadata)


def find_rows(names: tuple[str, ...], wanted: tuple[str, ...]) -> list[int]:
    """Return for each wanted class the row of its name; ``names`` may hold more.

    Raises:
        ValueError: if a name is missing, or stands twice while the orders differ.
    """
    known, asked = [canonical(name) for name in names], [canonical(name) for name in wanted]
    if known == asked:
        return list(range(len(names)))
    for name in asked:
        if known.count(name) != 1:
            fault = (
                "has no vector" if name not in known else "has several vectors, and the order of the classes differs"
            )
            raise ValueError(f"class '{name}' {fault}.{did_you_mean(name, known)}")
    return [known.index(name) for name in asked]


def embeddings_from_file(settings: LabelEmbeddingSettings, class_names: tuple[str, ...]) -> Tensor:
    """Return the rows of the file at ``settings.path`` for these classes.

    Rows are found by the names in the file's metadata; a file without names must have exactly K rows, in the order of
    the classes.
    """
    assert settings.path is not None, "LabelEmbeddingSettings checks it"
    path = Path(settings.path).expanduser()
    vectors = read_vectors(path)
    if vectors.class_names is None:
        if len(vectors.embeddings) != len(class_names):
            raise ValueError(
                f"label_embeddings.path: {path} names no classes, so it must have one row for each of the "
                f"{len(class_names)} classes, in their order; it has {len(vectors.embeddings)}."
            )
        return vectors.embeddings
    try:
        return vectors.embeddings[find_rows(vectors.class_names, class_names)]
    except ValueError as error:
        raise ValueError(f"label_embeddings.path: {path} does not fit the classes: {error}") from error

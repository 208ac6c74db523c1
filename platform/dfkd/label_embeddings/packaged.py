"""Vectors that ship with this package, found by the class names. Their provenance: ``README.md`` beside them."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from dfkd.label_embeddings.vectors import LabelVectors, canonical, find_rows, read_vectors
from dfkd.settings.experiment import LabelEmbeddingSettings

PACKAGED_VOCABULARIES = ("digits", "cifar10", "cifar100")
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
#: Other names of the digits: their figures, and torchvision's names of MNIST's classes.
_DIGIT_ALIASES = {alias: name for i, name in enumerate(_DIGITS) for alias in (str(i), f"{i} - {name}")}


def packaged_vectors(vocabulary: str) -> LabelVectors:
    """Return one packaged vocabulary, e.g. "cifar10"."""
    return read_vectors(Path(__file__).with_name(f"{vocabulary}-all-minilm-l6-v2.safetensors"))


def packaged_embeddings(settings: LabelEmbeddingSettings, class_names: tuple[str, ...]) -> Tensor:
    """Return the rows [K, 384] of the first packaged vocabulary that knows every class, in the order of the classes.

    Raises:
        ValueError: naming the ways out, if no vocabulary knows all the names or was made with the prompt asked for.
    """
    names = tuple(_DIGIT_ALIASES.get(canonical(name), name) for name in class_names)
    faults = []
    for vocabulary in PACKAGED_VOCABULARIES:
        vectors = packaged_vectors(vocabulary)
        try:
            rows = find_rows(vectors.class_names or (), names)
        except ValueError as error:
            faults.append(f"{vocabulary}: {error}")
            continue
        _check_prompt(settings, vocabulary, vectors)
        return vectors.embeddings[rows]
    shown = ", ".join(class_names[:10]) + (", ..." if len(class_names) > 10 else "")
    raise ValueError(
        f"label_embeddings: no packaged vectors for the {len(class_names)} classes {shown} ({' '.join(faults)}) "
        "Ways out: `label_embeddings.name: file` with `path:` a safetensors file of vectors; "
        "`name: sentence_transformers` with `model:` an encoder (needs `pip install -e '.[text]'`); "
        "`name: index`, the same without the names; `name: orthogonal`, rows without language."
    )


def _check_prompt(settings: LabelEmbeddingSettings, vocabulary: str, vectors: LabelVectors) -> None:
    """Raise ValueError for a prompt of the user's that the packaged vectors were not made with."""
    if settings.prompt not in (LabelEmbeddingSettings().prompt, vectors.prompt):
        raise ValueError(
            f"label_embeddings.prompt: the packaged vectors of {vocabulary} were made with {vectors.prompt!r} and "
            f"cannot follow {settings.prompt!r}. Leave it out, or use `name: sentence_transformers` with `model:`."
        )

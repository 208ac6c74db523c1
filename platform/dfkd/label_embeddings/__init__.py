"""Class names -> vectors: one source a file, all of them in ``LABEL_EMBEDDINGS``. No image is involved."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from dfkd.label_embeddings.orthogonal import orthogonal_embeddings
from dfkd.label_embeddings.packaged import packaged_embeddings
from dfkd.label_embeddings.text_encoder import index_embeddings, text_embeddings
from dfkd.label_embeddings.vectors import embeddings_from_file
from dfkd.settings.experiment import LabelEmbeddingSettings

__all__ = ["LABEL_EMBEDDINGS", "embed_labels"]

LABEL_EMBEDDINGS: dict[str, Callable[[LabelEmbeddingSettings, tuple[str, ...]], Tensor]] = {
    "packaged": packaged_embeddings,
    "file": embeddings_from_file,
    "sentence_transformers": text_embeddings,
    "index": index_embeddings,
    "orthogonal": orthogonal_embeddings,
}


def embed_labels(settings: LabelEmbeddingSettings, class_names: tuple[str, ...]) -> Tensor:
    """Return one row a class, in the order of ``class_names``: [K, E] float32, as the source gave them.

    Raises:
        ValueError: naming the ways out, if the source has no vectors for these classes; nothing is ever made up.
    """
    embeddings = LABEL_EMBEDDINGS[settings.name](settings, class_names)
    if not embeddings.isfinite().all():
        raise ValueError(f"label_embeddings: '{settings.name}' gave a vector with NaN or infinity in it.")
    if len(torch.unique(embeddings, dim=0)) < len(class_names):
        warnings.warn(
            "label_embeddings: two classes have the same vector, so a generator cannot tell them apart.", stacklevel=2
        )
    return embeddings

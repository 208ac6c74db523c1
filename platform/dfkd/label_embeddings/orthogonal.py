"""Random orthonormal rows: the baseline that says which class, and nothing about what it is."""

from __future__ import annotations

import torch
from torch import Tensor

from dfkd.settings.experiment import LabelEmbeddingSettings


def orthogonal_embeddings(settings: LabelEmbeddingSettings, class_names: tuple[str, ...]) -> Tensor:
    """Return K orthonormal rows of ``settings.width``, the same for the same seed: [K, E] float32.

    Raises:
        ValueError: if there are more classes than dimensions.
    """
    num_classes, width = len(class_names), settings.width
    if num_classes > width:
        raise ValueError(
            f"label_embeddings.width: at most {width} rows of width {width} can be orthogonal, and there are "
            f"{num_classes} classes. Set label_embeddings.width to {num_classes} or more."
        )
    generator = torch.Generator().manual_seed(settings.seed)
    columns = torch.randn(num_classes, width, generator=generator, dtype=torch.float64).T  # [E, K]
    orthonormal, triangular = torch.linalg.qr(columns)  # [E, K], [K, K]
    signs = triangular.diagonal().sign()  # QR leaves them open; so they do not depend on the linear-algebra library
    rows: Tensor = (orthonormal * signs).T  # [K, E]
    return rows.float().contiguous()

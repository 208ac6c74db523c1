"""CEND, the category embedding noise diffusion layer of CAE-DFKD."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dfkd.noise.sources import NOISE_SOURCES
from dfkd.settings.synthesis import CategoryEmbeddingNoise

FEW_CLASSES = 8  # below this, standardising per dimension leaves little but signs


def standardise(label_embeddings: Tensor) -> Tensor:
    """Spread label embeddings apart: ``e_off = (E0 - mean) / (std + 1e-5)`` per dimension over the classes.

    Raw rows of a text encoder are nearly parallel (mean cosine 0.87 on CIFAR-10's names under CLIP). For fewer than 8
    classes the rows are centred and scaled by one global factor instead: at K = 2 the formula would leave +1 and -1 in
    every dimension, and the text would be gone.

    Args:
        label_embeddings: [K, E].

    Returns:
        [K, E] with zero mean over the classes and (up to 1e-5) unit variance, per dimension or on average.

    Source: our reading of CAE-DFKD (Zhang et al., DAC 2025), which does not say how embeddings are scaled.
    """
    centred = label_embeddings - label_embeddings.mean(dim=0)
    if len(label_embeddings) >= FEW_CLASSES:
        return centred / (label_embeddings.std(dim=0, unbiased=False) + 1e-5)
    return centred / (centred.square().mean().sqrt() + 1e-5)


class CategoryEmbedding(nn.Module):
    """CEND: ``e_n = e_off + M_n * q_n`` for every label and n = 1..N.

    Source: Zhang et al., CAE-DFKD, DAC 2025. The formula and N = 4 are the paper's; which distributions and which
    magnitudes is our reading. It has no BatchNorm behind it; whether it needs one is open.

    Args:
        settings: sources and magnitudes.
        label_embeddings: [K, E], raw.
    """

    label_embeddings: Tensor
    log_magnitudes: Tensor

    def __init__(self, settings: CategoryEmbeddingNoise, label_embeddings: Tensor) -> None:
        super().__init__()
        self.num_sources = settings.num_sources
        self.width = label_embeddings.shape[1]
        self._sources = [NOISE_SOURCES[name] for name in settings.source_names()]
        self.register_buffer("label_embeddings", standardise(label_embeddings), persistent=False)
        log_magnitudes = torch.tensor(settings.magnitudes()).log()  # [N]; a logarithm keeps a learnt M_n positive
        if settings.learnable_magnitudes:
            self.log_magnitudes = nn.Parameter(log_magnitudes)
        else:
            self.register_buffer("log_magnitudes", log_magnitudes, persistent=False)

    def draw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Draw q_n for labels [L] from each of the N sources: [N, L, E]."""
        return torch.stack([source(labels, self.width, generator) for source in self._sources])

    def forward(self, labels: Tensor, drawn: Tensor) -> Tensor:
        """Diffuse the embeddings of labels [L] by q [N, L, E]: latents [N, L, E]."""
        return self.label_embeddings[labels] + self.log_magnitudes.exp().view(-1, 1, 1) * drawn

    def start_round(self, generator: torch.Generator) -> bool:
        """Nothing is re-initialised: the noise itself is what differs from round to round."""
        return False

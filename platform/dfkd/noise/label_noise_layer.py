"""NAYER's noisy layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.settings.synthesis import LabelNoiseLayer


class NoisyLinear(nn.Module):
    """Label embedding -> BatchNorm -> Linear that forgets everything at the start of a round.

    The randomness of a batch comes from the re-initialised weights and not from the input.

    Source: Tran et al., NAYER: Noisy Layer Data Generation for Efficient and Effective Data-free Knowledge
    Distillation, CVPR 2024, section 3.2, initialised N(0, 1) with biases of 0 as in its public code. Deviation: that
    code makes every K labels of a batch one chunk with a Linear layer of its own; here the i-th image of each class has
    the i-th layer, which is the same for balanced batches and keeps the images of a class apart in others. BatchNorm
    takes its statistics from the K classes, which is the same for balanced batches. A round re-initialises BatchNorm
    too, our reading of the paper, which re-initialises "the noisy layer"; the public code re-initialises the Linear
    layers alone (``reset_weights``).

    Args:
        settings: the latent width Z.
        label_embeddings: [K, E], raw.
        images_per_class: P, how many independent layers a batch has, so that images of one class differ.
    """

    label_embeddings: Tensor

    def __init__(self, settings: LabelNoiseLayer, label_embeddings: Tensor, *, images_per_class: int) -> None:
        super().__init__()
        self.num_sources = 1
        self.width = settings.width
        self.register_buffer("label_embeddings", label_embeddings.clone(), persistent=False)
        embedding_width = label_embeddings.shape[1]
        self.norm = nn.BatchNorm1d(embedding_width)
        # Filled by `start_round`, which a method calls before the first draw.
        self.weights = nn.Parameter(torch.zeros(images_per_class, embedding_width, settings.width))  # [P, E, Z]
        self.biases = nn.Parameter(torch.zeros(images_per_class, 1, settings.width))

    def draw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Draw nothing: [1, L, 0]."""
        return torch.empty(1, len(labels), 0, device=labels.device)

    def forward(self, labels: Tensor, drawn: Tensor) -> Tensor:
        """Map labels [L] to latents [1, L, Z]; the i-th image of a class goes through layer i, cyclically."""
        every_latent = self.norm(self.label_embeddings) @ self.weights + self.biases  # [P, K, Z]
        seen = F.one_hot(labels, len(self.label_embeddings)).cumsum(dim=0)  # [L, K]: images of a class so far
        layers = (seen.gather(1, labels[:, None]).squeeze(1) - 1) % len(self.weights)  # [L]
        latents: Tensor = every_latent[layers, labels]  # [L, Z]
        return latents.unsqueeze(0)

    def start_round(self, generator: torch.Generator) -> bool:
        """Re-initialise Linear layers and BatchNorm in place."""
        self.reset_weights(generator)
        self.norm.reset_parameters()
        return True

    def reset_weights(self, generator: torch.Generator) -> None:
        """Re-initialise the Linear layers in place; BatchNorm keeps what it learnt."""
        nn.init.normal_(self.weights, generator=generator)
        nn.init.zeros_(self.biases)

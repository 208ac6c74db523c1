"""NAYER's noisy layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dfkd.settings.synthesis import LabelNoiseLayer


class NoisyLinear(nn.Module):
    """Label embedding -> BatchNorm -> Linear that forgets everything at the start of a round.

    The randomness of a batch comes from the re-initialised weights and not from the input.

    Source: Tran et al., NAYER: Noisy Layer Data Generation for Efficient and Effective Data-free Knowledge
    Distillation, CVPR 2024, section 3.2. Deviation: the public code gives every K labels of a batch a Linear layer of
    their own; here one matrix per image of a class does the same in one product.

    Args:
        settings: the latent width Z.
        label_embeddings: [K, E], raw.
        images_per_class: how many independent layers a batch has, so that images of one class differ.
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
        self.biases = nn.Parameter(torch.zeros(images_per_class, settings.width))

    def draw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Draw nothing: [1, L, 0]."""
        return torch.empty(1, len(labels), 0, device=labels.device)

    def forward(self, labels: Tensor, drawn: Tensor) -> Tensor:
        """Map labels [L] to latents [1, L, Z]; the i-th image of the batch goes through layer i // K, cyclically."""
        normalised = self.norm(self.label_embeddings[labels])  # [L, E]
        num_layers, num_classes = len(self.weights), len(self.label_embeddings)
        layer = torch.arange(len(labels), device=labels.device) // num_classes % num_layers
        everything = torch.einsum("le,pez->lpz", normalised, self.weights) + self.biases  # [L, P, Z]
        rows = torch.arange(len(labels), device=labels.device)
        return everything[rows, layer].unsqueeze(0)

    def start_round(self, generator: torch.Generator) -> None:
        """Re-initialise the layers in place, as ``nn.Linear`` does."""
        bound = self.weights.shape[1] ** -0.5
        nn.init.uniform_(self.weights, -bound, bound, generator=generator)
        nn.init.uniform_(self.biases, -bound, bound, generator=generator)
        self.norm.reset_parameters()

"""Plain Gaussian latents."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dfkd.settings.synthesis import GaussianNoise


class GaussianLatents(nn.Module):
    """z ~ N(0, I), whatever the label: the unstructured latent space that CEND replaces."""

    def __init__(self, settings: GaussianNoise) -> None:
        super().__init__()
        self.num_sources = 1
        self.width = settings.width

    def draw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Draw z for labels [L]: [1, L, Z]."""
        return torch.randn(1, len(labels), self.width, generator=generator, device=labels.device)

    def forward(self, labels: Tensor, drawn: Tensor) -> Tensor:
        """Return what was drawn: [1, L, Z]."""
        return drawn

    def start_round(self, generator: torch.Generator) -> bool:
        """Nothing is re-initialised."""
        return False

"""What feeds a generator."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class NoiseLayer(Protocol):
    """Turns class labels into latents, under one or several noise sources.

    ``draw`` holds all randomness and ``forward`` all that is learnt, so that a method may keep one draw for several
    generator steps while the layer's parameters change. Implementations are ``nn.Module``.
    """

    num_sources: int
    width: int

    def draw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the noise for labels [L]: [N, L, anything]."""
        ...

    def forward(self, labels: Tensor, drawn: Tensor) -> Tensor:
        """Combine labels [L] and what was drawn for them into latents [N, L, Z]."""
        ...

    def start_round(self, generator: torch.Generator) -> bool:
        """Prepare for a new synthesis round; a layer that re-initialises its parameters does so here and says True."""
        ...

"""The head that turns a student's features into what is contrasted; dropped after training."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class ProjectionHead(nn.Module):
    """``z = normalise(h(f))`` with h a two-layer perceptron D -> D -> P.

    Source: Chen et al., SimCLR, ICML 2020, section 4.2; our reading of CAE-DFKD, which does not name its head.
    """

    def __init__(self, feature_width: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(feature_width, feature_width), nn.ReLU(inplace=True), nn.Linear(feature_width, width)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, D] to projections [B, P] of unit length."""
        return F.normalize(self.layers(features), dim=1)

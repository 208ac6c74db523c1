"""``FeatureQueue``: the newest features of a network, the oldest of which make room."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


class FeatureQueue:
    """A ring of ``length`` features of unit length, full from the start: with random directions.

    Source: He et al., Momentum Contrast for Unsupervised Visual Representation Learning (MoCo), CVPR 2020, section 3.2.

    Attributes:
        features: [length, D].
    """

    def __init__(self, *, length: int, width: int, generator: torch.Generator, device: torch.device) -> None:
        drawn = torch.randn(length, width, generator=generator, device=device)
        self.features: Tensor = F.normalize(drawn, dim=1)
        self._position = 0

    def push(self, features: Tensor) -> None:
        """Put features [B, D] of unit length in the place of the oldest; of more than ``length``, the last."""
        length = len(self.features)
        features = features.detach()[-length:]
        rows = (self._position + torch.arange(len(features), device=features.device)) % length
        self.features = self.features.index_copy(0, rows, features)  # a new tensor: graphs hold on to the old one
        self._position = (self._position + len(features)) % length

    def state_dict(self) -> dict[str, Any]:
        """Return the features and the position of the oldest."""
        return {"features": self.features, "position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self.features = state["features"].to(self.features.device)
        self._position = int(state["position"])

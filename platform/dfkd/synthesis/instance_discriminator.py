"""CMI's instance discriminator: the head, and the memory of what the teacher saw of former images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dfkd.initialisation import reset_layers
from dfkd.losses.contrastive import instance_contrast
from dfkd.settings.synthesis import InstanceContrastSettings
from dfkd.synthesis.projection_head import ProjectionHead


class InstanceDiscriminator:
    """Tells images apart by the teacher's features of a local and of the whole view.

    Source: Fang et al., Contrastive Model Inversion, IJCAI 2021, and its public code: a two-layer perceptron on the
    features, and up to 4,096 of the newest 40,960 images beside the new ones.

    Args:
        settings: of the contrast.
        feature_width: F, of one view.
        learning_rate: Adam's, of the head.
        generator: the source of all randomness, on ``device``.
        device: where the teacher is.
    """

    def __init__(
        self,
        settings: InstanceContrastSettings,
        *,
        feature_width: int,
        learning_rate: float,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.settings, self.random = settings, generator
        self.head = ProjectionHead(feature_width, settings.width).to(device)
        reset_layers(self.head, generator)
        self.optimizer = torch.optim.Adam(self.head.parameters(), lr=learning_rate, fused=True)
        self.memory = FeatureMemory(settings.memory_capacity, width=2 * feature_width, device=device)

    def contrast(self, local: Tensor, whole: Tensor) -> Tensor:
        """Contrast the views of new images, features [B, F] each, with each other and with remembered images."""
        features = torch.cat([local, whole], dim=1)
        remembered = self.memory.sample(self.settings.num_remembered, self.random)  # [M, 2 F]
        all_local, all_whole = torch.cat([features, remembered]).chunk(2, dim=1)  # [B + M, F] each
        return instance_contrast(
            self.head(all_local), self.head(all_whole), num_new=len(local), temperature=self.settings.temperature
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs."""
        return {
            "head": self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "memory": self.memory.rows.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.memory.rows = state["memory"].to(self.memory.rows.device)


class FeatureMemory:
    """The features of the newest ``capacity`` images, in ``rows`` [stored, width]."""

    def __init__(self, capacity: int, *, width: int, device: torch.device) -> None:
        self.capacity = capacity
        self.rows = torch.empty(0, width, device=device)

    def add(self, features: Tensor) -> None:
        """Store features [B, width] without their gradient; the oldest make room."""
        self.rows = torch.cat([self.rows, features.detach()])[-self.capacity :]

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw ``count`` rows without replacement, or all there are: [min(count, stored), width]."""
        drawn = torch.randperm(len(self.rows), generator=generator, device=self.rows.device)[:count]
        return self.rows[drawn]

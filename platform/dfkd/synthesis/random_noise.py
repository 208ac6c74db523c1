"""KD on random images: the floor under every method."""

from __future__ import annotations

import torch

from dfkd.domain import Domain, per_channel
from dfkd.settings.synthesis import RandomNoiseSettings
from dfkd.synthesis.drawn import Drawn
from dfkd.synthesis.protocol import SyntheticBatch
from dfkd.teacher_student import TeacherStudent


class RandomNoise(Drawn):
    """Pixels from the Gaussian that has the teacher's input statistics, cut to [0, 1]; drawn anew for every step."""

    def __init__(
        self, settings: RandomNoiseSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator
    ) -> None:
        self.domain, self.random, self.device = domain, generator, pair.device

    def sample(self, batch_size: int) -> SyntheticBatch:
        """Draw images [B, C, H, W] in [0, 1]."""
        noise = torch.randn(batch_size, *self.domain.image_shape, generator=self.random, device=self.device)
        mean, std = (per_channel(values, noise.device, noise.dtype) for values in (self.domain.mean, self.domain.std))
        return SyntheticBatch(images=(mean + std * noise).clamp_(0, 1))

"""KD on random images: the floor under every method."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dfkd.domain import Domain, per_channel
from dfkd.settings.synthesis import RandomNoiseSettings
from dfkd.synthesis.protocol import Gather, Rounds, StudentLoss, StudentOutput, SyntheticBatch
from dfkd.teacher_student import TeacherStudent


class RandomNoise:
    """Pixels from the Gaussian that has the teacher's input statistics, cut to [0, 1]; drawn anew for every step."""

    def __init__(
        self, settings: RandomNoiseSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator
    ) -> None:
        self.domain, self.random, self.device = domain, generator, pair.device
        self.warm_up_epochs = 0
        self.student_head = None

    def rounds(self, epoch: int, steps_per_epoch: int) -> Rounds:
        """Nothing alternates: an epoch is its student steps."""
        return Rounds(per_epoch=1, student_steps=steps_per_epoch)

    def synthesize(self, epoch: int) -> dict[str, Tensor]:
        """Nothing is learnt."""
        return {}

    def sample(self, batch_size: int) -> SyntheticBatch:
        """Draw images [B, C, H, W] in [0, 1]."""
        noise = torch.randn(batch_size, *self.domain.image_shape, generator=self.random, device=self.device)
        mean, std = (per_channel(values, noise.device, noise.dtype) for values in (self.domain.mean, self.domain.std))
        return SyntheticBatch(images=(mean + std * noise).clamp_(0, 1))

    def student_loss(
        self, batch: SyntheticBatch, teacher_logits: Tensor, output: StudentOutput, gather: Gather
    ) -> StudentLoss:
        """Nothing beside KD."""
        return StudentLoss({}, {})

    def preview(self) -> Tensor | None:
        """Nothing is kept."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Nothing but the random generator, which the run keeps."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""

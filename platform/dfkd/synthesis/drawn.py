"""What methods share that learn nothing but the student: their images are drawn, not synthesised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from dfkd.synthesis.banked import PREVIEW_IMAGES
from dfkd.synthesis.protocol import Gather, Rounds, StudentLoss, StudentOutput, SyntheticBatch


class Drawn(ABC):
    """A ``Synthesizer`` without synthesis. A method says how a batch is drawn."""

    warm_up_epochs = 0
    student_head: nn.Module | None = None
    augments = True
    shown: Tensor | None = None  # images [n, C, H, W] in [0, 1] of a batch, where a preview is wanted

    @abstractmethod
    def sample(self, batch_size: int) -> SyntheticBatch:
        """Draw images [B, C, H, W] in [0, 1]."""

    def rounds(self, epoch: int, steps_per_epoch: int) -> Rounds:
        """Nothing alternates: an epoch is its student steps."""
        return Rounds(per_epoch=1, student_steps=steps_per_epoch)

    def synthesize(self, epoch: int, progress: float) -> dict[str, Tensor]:
        """Nothing is learnt."""
        return {}

    def watch(self) -> AbstractContextManager[object] | None:
        """Nothing is hooked."""
        return None

    def student_loss(
        self, batch: SyntheticBatch, teacher_logits: Tensor, output: StudentOutput, gather: Gather
    ) -> StudentLoss:
        """Nothing beside KD."""
        return StudentLoss({}, {})

    def preview(self) -> Tensor | None:
        """Return some of the newest images, uint8 [n, C, H, W]; None where nothing is kept."""
        return None if self.shown is None else self.shown[:PREVIEW_IMAGES].mul(255).round().to(torch.uint8)

    def state_dict(self) -> dict[str, Any]:
        """Nothing but the random generator, which the run keeps."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 - the run keeps all there is
        """Nothing to restore."""

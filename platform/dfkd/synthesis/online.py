"""What methods without a bank share: generator and student take turns, every turn on new images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.generators import build_generator
from dfkd.initialisation import reset_layers
from dfkd.losses.inversion import BatchNormStatistics, batch_norm_statistics
from dfkd.settings.synthesis import OnlineSettings
from dfkd.synthesis.banked import PREVIEW_IMAGES, descend
from dfkd.synthesis.protocol import Gather, Rounds, StudentLoss, StudentOutput, SyntheticBatch
from dfkd.teacher_student import TeacherStudent


class Online(ABC):
    """A ``Synthesizer`` without a bank. A method says what its generator's loss is, and adds what it has beside it.

    Args:
        settings: batch size is that of this worker.
        pair: teacher and student, on the training device.
        domain: what is known of the real data.
        generator: the source of all randomness, on the training device.
    """

    warm_up_epochs = 0
    student_head: nn.Module | None = None
    augments = False  # the images are new in every step or turn
    student_trains = False  # whether the student is in training mode while the generator learns, as in its own steps

    def __init__(
        self, settings: OnlineSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator
    ) -> None:
        self.pair, self.domain, self.random = pair, domain, generator
        self._turn = settings
        self._newest: Tensor | None = None
        self._kept: Tensor | None = None
        self.kept_logits: Tensor | None = None  # the teacher's, of the images that were kept, once they are known
        self.generator = build_generator(
            settings.generator, latent_width=settings.latent_width, image_shape=domain.image_shape
        ).to(pair.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        reset_layers(self.generator, generator)
        self.optimizer = torch.optim.Adam(
            self.generator.parameters(), lr=settings.learning_rate, betas=settings.betas, fused=True
        )

    @abstractmethod
    def generator_loss(self, images: Tensor, statistics: BatchNormStatistics) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of images [B, C, H, W] in [0, 1] that the generator just made, and its terms to log."""

    def keep(self, latents: Tensor, images: Tensor) -> Tensor | None:
        """Return the images that all student steps of this turn learn from; None: each has new ones.

        A method that keeps images says so in ``KEEPS_BATCH`` of its settings.

        Args:
            latents: [B, Z], of the generator's last step.
            images: [B, C, H, W] in [0, 1], which it made of them before that step; without gradient.
        """
        return None

    def rounds(self, epoch: int, steps_per_epoch: int) -> Rounds:
        """Turns of generator and student, until the student has had its steps (rounded up to whole turns)."""
        return Rounds(per_epoch=-(-steps_per_epoch // self._turn.student_steps), student_steps=self._turn.student_steps)

    def synthesize(self, epoch: int, progress: float) -> dict[str, Tensor]:
        """Take the generator's steps of one turn."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._turn.learning_rate * self._turn.decay.share(progress)
        terms: dict[str, Tensor] = {}
        self.kept_logits = None
        with self.pair.frozen_student() as student, self._statistics() as statistics:
            student.train(self.student_trains)
            for _ in range(self._turn.generator_steps):
                latents = self.draw(self._turn.batch_size)
                images = self.generator(latents)
                loss, terms = self.generator_loss(images, statistics)
                descend(self.optimizer, loss, gradient_clip=self._turn.gradient_clip)
        self._kept = self.keep(latents, images.detach())
        return terms | {"generator_loss": loss.detach()}

    def _statistics(self) -> AbstractContextManager[BatchNormStatistics]:
        """Hook the teacher's BatchNorm layers where the method weighs them."""
        if self._turn.batch_norm_weight:
            return batch_norm_statistics(self.pair.teacher)
        return nullcontext(BatchNormStatistics(self.pair.device))

    def draw(self, batch_size: int) -> Tensor:
        """Draw Gaussian latents [B, Z]."""
        return torch.randn(batch_size, self._turn.latent_width, generator=self.random, device=self.pair.device)

    @torch.no_grad()
    def sample(self, batch_size: int) -> SyntheticBatch:
        """Give what was kept for this turn, or make new images with the generator as it stands, in training mode."""
        if self._kept is None:
            self._newest = self.generator(self.draw(batch_size))
        else:
            assert batch_size <= len(self._kept), (batch_size, len(self._kept))  # ExperimentSettings sees to it
            self._newest = self._kept[:batch_size]
        logits = None if self.kept_logits is None else self.kept_logits[:batch_size]
        return SyntheticBatch(images=self._newest, teacher_logits=logits)

    def watch(self) -> AbstractContextManager[object] | None:
        """Nothing is hooked."""
        return None

    def student_loss(
        self, batch: SyntheticBatch, teacher_logits: Tensor, output: StudentOutput, gather: Gather
    ) -> StudentLoss:
        """Nothing beside KD. What the teacher says of images that are kept for a turn holds for all of its steps."""
        if self._kept is not None:
            self.kept_logits = teacher_logits.detach()
        return StudentLoss({}, {})

    def preview(self) -> Tensor | None:
        """Return some of the newest images, uint8 [n, C, H, W]."""
        if self._newest is None:
            return None
        return self._newest[:PREVIEW_IMAGES].mul(255).round().to(torch.uint8)

    def parts(self) -> dict[str, Any]:
        """Return all that a resumed run needs, by name; each has ``state_dict`` and ``load_state_dict``."""
        return {"generator": self.generator, "optimizer": self.optimizer}

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs."""
        return {name: part.state_dict() for name, part in self.parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        for name, part in self.parts().items():
            part.load_state_dict(state[name])

"""What methods with an image bank share: rounds of inversion fill the bank, and the student learns from the bank."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from dfkd.augmentation import augment
from dfkd.domain import Domain
from dfkd.image_bank import ImageBank
from dfkd.losses.adversarial import adversarial_loss
from dfkd.losses.inversion import BatchNormStatistics, batch_norm_statistics, one_hot_loss
from dfkd.losses.statistics_memory import StatisticsMemory
from dfkd.settings.synthesis import RoundsSettings, SynthesisWeights
from dfkd.synthesis.protocol import Gather, Rounds, StudentLoss, StudentOutput, SyntheticBatch
from dfkd.teacher_student import TeacherStudent

PREVIEW_IMAGES = 40
LossOf = Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]


class Banked(ABC):
    """A ``Synthesizer`` with a bank. A method says what one round is, and adds what it has beside the bank.

    Args:
        settings: batch size and bank capacity are those of this worker.
        pair: teacher and student, on the training device.
        domain: what is known of the real data.
        generator: the source of all randomness, on the training device.
        num_sources: N, the noise sources that the bank tells apart.
    """

    student_head: nn.Module | None = None
    augments = True

    def __init__(
        self,
        settings: RoundsSettings,
        pair: TeacherStudent,
        domain: Domain,
        generator: torch.Generator,
        *,
        num_sources: int = 1,
    ) -> None:
        self.pair, self.domain, self.random = pair, domain, generator
        self._schedule = settings
        self.warm_up_epochs = settings.warm_up_epochs
        self.bank = ImageBank(
            capacity=settings.bank_capacity,
            image_shape=domain.image_shape,
            num_sources=num_sources,
            device=pair.device,
        )
        momentum = settings.batch_norm_momentum
        self.statistics_memory = StatisticsMemory(momentum, pair.device) if momentum else None

    @abstractmethod
    def round(self, statistics: BatchNormStatistics, *, adversarial: bool) -> dict[str, Tensor]:
        """Make one batch and add it to the bank; return scalar tensors to log."""

    def start_epoch(self, epoch: int) -> None:  # noqa: B027 - most methods have nothing to do here
        """Do what a method does before an epoch's rounds."""

    def statistics(self) -> AbstractContextManager[BatchNormStatistics]:
        """Hook the teacher's BatchNorm layers for the rounds of an epoch."""
        return batch_norm_statistics(self.pair.teacher, self.statistics_memory)

    def parts(self) -> dict[str, Any]:
        """Return all that a resumed run needs, by name; each has ``state_dict`` and ``load_state_dict``."""
        parts: dict[str, Any] = {"bank": self.bank}
        return parts | ({"statistics_memory": self.statistics_memory} if self.statistics_memory else {})

    def rounds(self, epoch: int, steps_per_epoch: int) -> Rounds:
        """One synthesis, then the student's steps; none while the bank warms up."""
        return Rounds(per_epoch=1, student_steps=0 if epoch < self.warm_up_epochs else steps_per_epoch)

    def synthesize(self, epoch: int, progress: float) -> dict[str, Tensor]:
        """Run this epoch's rounds; the best batch of each goes to the bank."""
        self.start_epoch(epoch)
        warm = epoch >= self.warm_up_epochs
        num_rounds = self._schedule.rounds_per_epoch if warm else self._schedule.warm_up_rounds
        reports = []
        with self.pair.frozen_student(), self.statistics() as statistics:
            for _ in range(num_rounds):
                reports.append(self.round(statistics, adversarial=warm))
                statistics.remember()
        return {name: torch.stack([report[name] for report in reports]).mean() for name in reports[0]}

    def inversion_loss(
        self,
        images: Tensor,
        labels: Tensor,
        statistics: BatchNormStatistics,
        weights: SynthesisWeights,
        *,
        adversarial: bool,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Weigh ``CE(T(a(x)), y) + sum_l BN distance + L_adv``; return it and its terms.

        Args:
            images: x [B, C, H, W] in [0, 1], with gradient.
            labels: y [B].
            statistics: hooked to the teacher.
            weights: of the three terms.
            adversarial: whether the third is wanted; a student that learnt nothing has no say.
        """
        normalised = self.domain.normalise(self.augment(images))
        teacher_logits = self.pair.teacher(normalised)
        one_hot = one_hot_loss(teacher_logits, labels)
        batch_norm = statistics.loss()
        loss = weights.one_hot * one_hot + weights.batch_norm * batch_norm
        hits = (teacher_logits.argmax(dim=1) == labels).float().mean()
        terms = {"one_hot": one_hot.detach(), "batch_norm": batch_norm.detach(), "label_match": hits}
        if adversarial and weights.adversarial:
            against_student = adversarial_loss(self.pair.student(normalised), teacher_logits)
            loss = loss + weights.adversarial * against_student
            terms["adversarial"] = against_student.detach()
        return loss, terms

    def augment(self, images: Tensor) -> Tensor:
        """Shift and mirror images as far as that keeps their labels."""
        return augment(
            images,
            crop_padding=self.domain.crop_padding,
            horizontal_flip=self.domain.horizontal_flip,
            generator=self.random,
        )

    def sample(self, batch_size: int) -> SyntheticBatch:
        """Draw uniformly from the bank."""
        return SyntheticBatch(**self.bank.sample(batch_size, generator=self.random)._asdict())

    def watch(self) -> AbstractContextManager[object] | None:
        """Nothing is hooked."""
        return None

    def student_loss(
        self, batch: SyntheticBatch, teacher_logits: Tensor, output: StudentOutput, gather: Gather
    ) -> StudentLoss:
        """Nothing beside KD."""
        return StudentLoss({}, {})

    def preview(self) -> Tensor | None:
        """Return some of the newest images, uint8 [n, C, H, W]."""
        return self.bank.latest(PREVIEW_IMAGES) if len(self.bank) else None

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs."""
        return {name: part.state_dict() for name, part in self.parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        for name, part in self.parts().items():
            part.load_state_dict(state[name])


class BestBatch:
    """Keeps the images of the lowest loss. The comparison stays on the device: asking for it would stop the pipeline.

    Attributes:
        images: of the lowest loss so far, [B, C, H, W], detached; None before the first.
        loss: the lowest loss, a scalar tensor.
    """

    def __init__(self, device: torch.device) -> None:
        self.images: Tensor | None = None
        self.loss = torch.full((), torch.inf, device=device)

    def offer(self, images: Tensor, loss: Tensor) -> None:
        """Take the images if their loss is the lowest so far."""
        images, loss = images.detach(), loss.detach()
        better = loss < self.loss
        self.images = images if self.images is None else torch.where(better, images, self.images)
        self.loss = torch.minimum(loss, self.loss)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, *, gradient_clip: float | None = None) -> None:
    """Take one optimiser step down the loss, along a gradient of at most the length ``gradient_clip`` (None: any)."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if gradient_clip is not None:
        nn.utils.clip_grad_norm_((p for group in optimizer.param_groups for p in group["params"]), gradient_clip)
    optimizer.step()

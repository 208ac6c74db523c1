"""PRE-DFKD: a VAE remembers former images and replays them to the student, in place of a store of images.

Source: Binici et al., Robust and Resource-Efficient Data-Free Knowledge Distillation by Generative Pseudo Replay,
AAAI 2022, and its public code (github.com/kuluhan/PRE-DFKD), which is followed throughout: the memory rebuilds images
and teacher logits, not features; the memory's own latents take one step towards images that the teacher is sure of.

Deviation: generator and decoder are the platform's, with a sigmoid and the teacher's normalisation; theirs end in tanh
and a BatchNorm without weights, and the generator's convolutions have spectral norm. The memory learns a student step's
images just before the student and not just after; neither sees the other, so nothing depends on it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dfkd.domain import Domain
from dfkd.losses.activation import activation_loss
from dfkd.losses.entropy import information_entropy_loss
from dfkd.losses.inversion import BatchNormStatistics, one_hot_loss
from dfkd.losses.replay import disagreement_loss
from dfkd.settings.synthesis import PreDfkdSettings
from dfkd.synthesis.generative_memory import GenerativeMemory
from dfkd.synthesis.online import Online
from dfkd.synthesis.penultimate_features import PenultimateFeatures
from dfkd.synthesis.protocol import Gather, StudentLoss, StudentOutput, SyntheticBatch
from dfkd.teacher_student import TeacherStudent

DISAGREEMENT_TEMPERATURE = 3.0  # of the public code


class PseudoReplay(Online):
    """PRE-DFKD as a ``Synthesizer``; arguments as for ``Online``."""

    student_trains = True

    def __init__(
        self, settings: PreDfkdSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator
    ) -> None:
        self.settings = settings
        self._features: PenultimateFeatures | None = None
        if settings.weights.activation:
            self._features = PenultimateFeatures(
                pair.teacher, num_classes=domain.num_classes, wanted_by="synthesis.weights.activation"
            )
        super().__init__(settings, pair, domain, generator)
        self.memory = GenerativeMemory(
            settings.memory,
            settings.generator,
            latent_width=settings.latent_width,
            match=self._match,
            pair=pair,
            domain=domain,
            random=generator,
        )
        self._first_turn = True  # has the memory nothing to recall yet?
        self._lessons_left = 0  # of the memory, in this turn
        self._memory_loss: Tensor | None = None  # of the newest lesson, until it is logged

    def synthesize(self, epoch: int, progress: float) -> dict[str, Tensor]:
        """Take the generator's steps of one turn."""
        self._first_turn = epoch == 0 and progress == 0
        self._lessons_left = self.settings.memory.steps
        return super().synthesize(epoch, progress)

    def generator_loss(self, images: Tensor, statistics: BatchNormStatistics) -> tuple[Tensor, dict[str, Tensor]]:
        """Weigh ``CE(T(x), argmax T(x)) + sum_k p_k log10 p_k - mean |f_T(x)| + 1 - JS(S(x), T(x))``."""
        weights = self.settings.weights
        normalised = self.domain.normalise(images)
        loss = torch.zeros((), device=images.device)
        terms: dict[str, Tensor] = {}
        if self._features is None:
            teacher_logits = self.pair.teacher(normalised)
        else:
            with self._features:
                teacher_logits = self.pair.teacher(normalised)
                activation = activation_loss(self._features.latest)
            loss = weights.activation * activation
            terms["activation"] = activation.detach()
        disagreement = disagreement_loss(
            self.pair.student(normalised), teacher_logits.detach(), temperature=DISAGREEMENT_TEMPERATURE
        )
        loss = loss + self._match(teacher_logits) + weights.disagreement * disagreement
        return loss, terms | {"disagreement": disagreement.detach()}

    def _match(self, teacher_logits: Tensor) -> Tensor:
        """Weigh what makes the teacher sure of every image and a batch of all classes."""
        weights = self.settings.weights
        one_hot = one_hot_loss(teacher_logits, teacher_logits.argmax(dim=1))
        entropy = information_entropy_loss(teacher_logits, base=10)
        return weights.one_hot * one_hot + weights.information_entropy * entropy

    def sample(self, batch_size: int) -> SyntheticBatch:
        """Make new images, add what the memory recalls, and teach it the new ones in the first steps of a turn."""
        num_recalled = round(self.settings.replay_share * batch_size)
        with torch.no_grad():
            self._newest = new = self.generator(self.draw(batch_size - num_recalled))
        images = torch.cat([new, self.memory.recall(num_recalled)]) if num_recalled else new
        if self._lessons_left:
            self._lessons_left -= 1
            half = new[: max(1, len(new) // 2)]
            self._memory_loss = self.memory.learn(half, rehearsed=0 if self._first_turn else num_recalled)
        return SyntheticBatch(images=images)

    def student_loss(
        self, batch: SyntheticBatch, teacher_logits: Tensor, output: StudentOutput, gather: Gather
    ) -> StudentLoss:
        """Nothing beside KD; the memory's loss is logged."""
        lesson, self._memory_loss = self._memory_loss, None
        return StudentLoss({}, {} if lesson is None else {"memory": lesson})

    def parts(self) -> dict[str, Any]:
        """Return generator, memory and their optimisers."""
        return super().parts() | self.memory.parts()

"""AdaDFKD: the generator sets apart what the teacher sees, against the student's features of former images.

The images to be set apart from grow more similar over the run, and the student's steps count the more, the easier they
are for it.

Source: Li et al., AdaDFKD: Exploring Adaptive Inter-Sample Relationship in Data-Free Knowledge Distillation, Neural
Networks 2024, and its public code (github.com/ljrprocc/DFKD), which is followed: we had the paper's abstract only.

Deviation: where teacher and student features differ in width, the code projects the student's with a Linear layer that
is drawn anew in every step and never trained, so that queued features of two steps cannot be compared. Here it is drawn
once and learns with the student. The ring's start and the threshold of the pace follow the share of the run and not
epochs and steps, so that a shorter run sees all of them; the code's threshold rises by the same amount a step whatever
the run's length. The queue need not be a multiple of the batch, which the code asserts and its CIFAR-10 script breaks.
The generator is the platform's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.initialisation import reset_layers
from dfkd.losses.entropy import information_entropy_loss
from dfkd.losses.inversion import BatchNormStatistics, one_hot_loss
from dfkd.losses.kd import kd_loss
from dfkd.losses.relation import pairing_loss, ring_contrast, self_paced_weight
from dfkd.models.protocol import with_features
from dfkd.settings.synthesis import AdaDfkdSettings
from dfkd.synthesis.feature_queue import FeatureQueue
from dfkd.synthesis.online import Online
from dfkd.synthesis.penultimate_features import PenultimateFeatures
from dfkd.synthesis.protocol import Gather, StudentLoss, StudentOutput, SyntheticBatch
from dfkd.teacher_student import TeacherStudent


class RelationHead(nn.Module):
    """The student's features as directions in the space of the teacher's: [B, D_S] -> [B, D_T] of unit length."""

    def __init__(self, student_width: int, teacher_width: int) -> None:
        super().__init__()
        same = student_width == teacher_width
        self.project = nn.Identity() if same else nn.Linear(student_width, teacher_width)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, D_S] to [B, D_T] of unit length."""
        return F.normalize(self.project(features), dim=1)


class AdaDfkd(Online):
    """AdaDFKD as a ``Synthesizer``; arguments as for ``Online``."""

    def __init__(
        self, settings: AdaDfkdSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator
    ) -> None:
        self.settings = settings
        self.teacher_features = PenultimateFeatures(
            pair.teacher, num_classes=domain.num_classes, wanted_by="synthesis.method: 'adadfkd'"
        )
        super().__init__(settings, pair, domain, generator)
        student = with_features(pair.student, wanted_by=settings.TITLE)
        head = RelationHead(student.feature_width, self.teacher_features.width).to(pair.device)
        reset_layers(head, generator)
        self.student_head: nn.Module = head
        self.queue = FeatureQueue(
            length=settings.relation.queue_length,
            width=self.teacher_features.width,
            generator=generator,
            device=pair.device,
        )
        self._progress = 0.0  # share of the run at the start of this turn

    def synthesize(self, epoch: int, progress: float) -> dict[str, Tensor]:
        """Take the generator's steps of one turn."""
        self._progress = progress
        return super().synthesize(epoch, progress)

    def generator_loss(self, images: Tensor, statistics: BatchNormStatistics) -> tuple[Tensor, dict[str, Tensor]]:
        """``CE(T(x), argmax T(x)) + BN + sum_k p_k log p_k - KD(S(x), T(x)) + relation``, each with its weight."""
        settings, weights = self.settings, self.settings.weights
        student: Any = self.pair.student
        normalised = self.domain.normalise(images)
        with self.teacher_features as caught:
            teacher_logits = self.pair.teacher(normalised)
            anchors = F.normalize(caught.latest, dim=1)  # [B, D]
        batch_norm = statistics.loss()
        student_features = student.forward_features(normalised)
        student_logits = student.classify(student_features)
        one_hot = one_hot_loss(teacher_logits, teacher_logits.argmax(dim=1))
        entropy = information_entropy_loss(teacher_logits / settings.entropy_temperature)
        adversarial = -kd_loss(student_logits, teacher_logits, temperature=settings.adversarial_temperature)
        relation = self._set_apart(anchors, student_features)
        loss = (
            weights.one_hot * one_hot
            + weights.batch_norm * batch_norm
            + weights.information_entropy * entropy
            + weights.adversarial * adversarial
            + weights.relation * relation
        )
        terms = {
            "one_hot": one_hot,
            "batch_norm": batch_norm,
            "information_entropy": entropy,
            "adversarial": adversarial,
            "relation": relation,
        }
        return loss, {name: term.detach() for name, term in terms.items()}

    def _set_apart(self, anchors: Tensor, student_features: Tensor) -> Tensor:
        """Contrast teacher directions [B, D] with the queue's, and queue the student's features [B, D_S] of now."""
        relation = self.settings.relation
        with torch.no_grad():
            keys = self.student_head(student_features)
        loss = ring_contrast(
            anchors,
            keys,
            self.queue.features,
            start=relation.ring_start(self._progress),
            share=relation.ring_share,
            temperature=relation.temperature,
        )
        self.queue.push(keys)
        return loss

    def sample(self, batch_size: int) -> SyntheticBatch:
        """Make new images with the generator in evaluation mode, as the public code does."""
        self.generator.eval()
        batch = super().sample(batch_size)
        self.generator.train()
        return batch

    def watch(self) -> AbstractContextManager[object]:
        """Catch the teacher's features of a student step."""
        return self.teacher_features

    def student_loss(
        self, batch: SyntheticBatch, teacher_logits: Tensor, output: StudentOutput, gather: Gather
    ) -> StudentLoss:
        """Have each image's teacher features find its student features among the batch; easy steps count in full."""
        settings = self.settings.relation
        assert output.projections is not None
        anchors = F.normalize(self.teacher_features.latest, dim=1)
        own = gather.rank * len(anchors) + torch.arange(len(anchors), device=anchors.device)
        loss = pairing_loss(anchors, gather(output.projections), own, temperature=settings.temperature)
        low, high = self.settings.pace_threshold
        threshold = low + (high - low) * self._progress
        return StudentLoss(
            {"contrast_relation": settings.student_weight * loss}, {}, partial(self_paced_weight, threshold=threshold)
        )

    def parts(self) -> dict[str, Any]:
        """Return the generator, its optimiser and the queue."""
        return super().parts() | {"queue": self.queue}

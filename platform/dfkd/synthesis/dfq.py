"""DFQ, without its quantisation: adversarial images that match the teacher's BatchNorm statistics, of all classes.

Source: Choi et al., Data-Free Network Quantization With Adversarial Knowledge Distillation, CVPR Workshops 2020. Its
authors published no code; this follows the loss that CMI's public code calls DFQ (github.com/zju-vipa/CMI,
generative.py), whose figures the field quotes. It differs from the paper: BN statistics by their L2 distance and not
by the KL divergence of Gaussians, cross-entropy with the teacher's decision in place of the entropy of each output,
weights of its own, and no warm-up of the generator.
Deviation: the adversarial term asks the student; CMI's command hands its synthesizer the teacher in the student's
place, so that the term is 0 there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dfkd.domain import Domain
from dfkd.losses.entropy import information_entropy_loss
from dfkd.losses.inversion import BatchNormStatistics, one_hot_loss
from dfkd.losses.kd import kl_divergence
from dfkd.settings.synthesis import DfqSettings
from dfkd.synthesis.online import Online
from dfkd.teacher_student import TeacherStudent


class Dfq(Online):
    """DFQ as a ``Synthesizer``; arguments as for ``Online``."""

    def __init__(self, settings: DfqSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator) -> None:
        self.weights = settings.weights
        super().__init__(settings, pair, domain, generator)

    def generator_loss(self, images: Tensor, statistics: BatchNormStatistics) -> tuple[Tensor, dict[str, Tensor]]:
        """``-adv KL(p_T || p_S) + bn sum_l BN distance + oh CE(T(x), argmax T(x)) + ie sum_k p_k log p_k``."""
        normalised = self.domain.normalise(images)
        teacher_logits = self.pair.teacher(normalised)
        batch_norm = statistics.loss()  # of the teacher's pass
        divergence = kl_divergence(self.pair.student(normalised), teacher_logits).mean()
        one_hot = one_hot_loss(teacher_logits, teacher_logits.argmax(dim=1))
        entropy = information_entropy_loss(teacher_logits)
        weights = self.weights
        loss = (
            -weights.adversarial * divergence
            + weights.batch_norm * batch_norm
            + weights.one_hot * one_hot
            + weights.information_entropy * entropy
        )
        terms = {
            "divergence": divergence,
            "batch_norm": batch_norm,
            "one_hot": one_hot,
            "information_entropy": entropy,
        }
        return loss, {name: term.detach() for name, term in terms.items()}

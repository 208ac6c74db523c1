"""DFAD: generator and student play a game for the L1 distance of the student's logits from the teacher's.

Source: Fang et al., Data-Free Adversarial Distillation, 2019 (arXiv 1912.11006), algorithm 1, and its public code
(github.com/VainF/Data-Free-Adversarial-Distillation, DFAD_cifar.py): 5 steps of the student and 1 of the generator,
each on new latents, the student in training mode throughout. The student's half is ``distillation.loss: l1``.
Deviation: a turn begins with the generator, theirs with the student; the generator ends in a sigmoid and the teacher's
normalisation, theirs in tanh and a BatchNorm without weights.
"""

from __future__ import annotations

from torch import Tensor

from dfkd.losses.inversion import BatchNormStatistics
from dfkd.losses.kd import l1_loss
from dfkd.synthesis.online import Online


class Dfad(Online):
    """DFAD as a ``Synthesizer``; arguments as for ``Online``."""

    student_trains = True

    def generator_loss(self, images: Tensor, statistics: BatchNormStatistics) -> tuple[Tensor, dict[str, Tensor]]:
        """``-mean |S(x) - T(x)|`` over images and classes."""
        normalised = self.domain.normalise(images)
        distance = l1_loss(self.pair.student(normalised), self.pair.teacher(normalised))
        return -distance, {"distance": distance.detach()}

"""DAFL: the generator makes what the teacher is sure of, of all classes, and the student learns from the same images.

Source: Chen et al., Data-Free Learning of Student Networks, ICCV 2019, section 3 and algorithm 1, and its public code
(github.com/huawei-noah/Efficient-Computing, DAFL-train.py). Where the two differ, this follows the code: generator and
student learn from one batch (the algorithm draws another for the student), and the entropy is in decimal digits.
Deviation: the generator ends in a sigmoid and the teacher's normalisation, theirs in tanh and a BatchNorm without
weights, which gives every batch the same mean and contrast.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dfkd.domain import Domain
from dfkd.losses.activation import activation_loss
from dfkd.losses.entropy import information_entropy_loss
from dfkd.losses.inversion import BatchNormStatistics, one_hot_loss
from dfkd.settings.synthesis import DaflSettings
from dfkd.synthesis.online import Online
from dfkd.teacher_student import TeacherStudent


class Dafl(Online):
    """DAFL as a ``Synthesizer``; arguments as for ``Online``.

    Raises:
        ValueError: if the activation loss is weighed and the teacher does not give its penultimate features.
    """

    def __init__(
        self, settings: DaflSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator
    ) -> None:
        self.weights = settings.weights
        if self.weights.activation and not hasattr(pair.teacher, "forward_features"):
            raise ValueError(
                f"synthesis.weights.activation: is {self.weights.activation:g}, but the teacher "
                f"({type(pair.teacher).__name__}) does not give its penultimate features. Set it to 0."
            )
        super().__init__(settings, pair, domain, generator)

    def generator_loss(self, images: Tensor, statistics: BatchNormStatistics) -> tuple[Tensor, dict[str, Tensor]]:
        """``oh CE(T(x), argmax T(x)) + ie sum_k p_k log10 p_k - a mean |f_T(x)|``, p the mean output of the batch.

        The paper's total adds KD; its images are detached from the generator, so that term is the student's alone.
        """
        logits, activation = self._ask_teacher(self.domain.normalise(images))
        self.kept_logits = logits.detach()
        one_hot = one_hot_loss(logits, logits.argmax(dim=1))
        entropy = information_entropy_loss(logits, base=10)
        weights = self.weights
        loss = weights.one_hot * one_hot + weights.information_entropy * entropy + weights.activation * activation
        terms = {"one_hot": one_hot, "information_entropy": entropy, "activation": activation}
        return loss, {name: term.detach() for name, term in terms.items()}

    def _ask_teacher(self, normalised: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, K] and the activation loss, in one pass; the loss is 0 where nobody weighs it."""
        teacher = self.pair.teacher
        if not self.weights.activation:
            return teacher(normalised), torch.zeros((), device=normalised.device)
        features = teacher.forward_features(normalised)  # type: ignore[operator]
        return teacher.classify(features), activation_loss(features)  # type: ignore[operator]

    def keep(self, latents: Tensor, images: Tensor) -> Tensor:
        """The student learns from the very images of the generator's step, of which the teacher was asked there."""
        return images

"""ZSKT: the generator seeks images on which the student is wrong about the teacher, and the student learns from them.

Source: Micaelli and Storkey, Zero-shot Knowledge Transfer via Adversarial Belief Matching, NeurIPS 2019, algorithm 1,
and its public code (github.com/polo5/ZeroShotKnowledgeTransfer), which is followed where it says more: the student
stays in training mode throughout, gradients are clipped, the teacher is asked once for all steps of a turn, and
attention is compared as in Zagoruyko and Komodakis' code.
Deviation: the generator ends in a sigmoid and the teacher's normalisation, theirs in a BatchNorm.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from dfkd.domain import Domain
from dfkd.feature_maps import FeatureMaps
from dfkd.losses.attention import attention_transfer_loss
from dfkd.losses.inversion import BatchNormStatistics
from dfkd.losses.kd import kl_divergence
from dfkd.settings.synthesis import ZsktSettings
from dfkd.synthesis.online import Online
from dfkd.synthesis.protocol import Gather, StudentLoss, StudentOutput, SyntheticBatch
from dfkd.teacher_student import TeacherStudent


class Zskt(Online):
    """ZSKT as a ``Synthesizer``; arguments as for ``Online``.

    Raises:
        ValueError: if attention is to be transferred and no feature maps of the two networks have one size.
    """

    student_trains = True

    def __init__(
        self, settings: ZsktSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator
    ) -> None:
        super().__init__(settings, pair, domain, generator)
        # The public code takes the mean of KL over classes too; beta stands against that.
        self.attention_weight = settings.attention_weight * domain.num_classes
        self.maps: tuple[FeatureMaps, ...] = ()  # the teacher's and the student's
        self._teacher_maps: dict[tuple[int, int], Tensor] = {}  # of this turn's images
        if settings.attention_weight:
            self.maps = tuple(FeatureMaps(network, domain.image_shape) for network in (pair.teacher, pair.student))
            for maps in self.maps:
                maps.close()  # until a student step
            self.sizes = _sizes_of_both(*self.maps)

    def generator_loss(self, images: Tensor, statistics: BatchNormStatistics) -> tuple[Tensor, dict[str, Tensor]]:
        """``-KL(p_T || p_S)``, mean over the batch."""
        normalised = self.domain.normalise(images)
        divergence = kl_divergence(self.pair.student(normalised), self.pair.teacher(normalised)).mean()
        return -divergence, {"divergence": divergence.detach()}

    @torch.no_grad()
    def keep(self, latents: Tensor, images: Tensor) -> Tensor:
        """The student's steps share the latents of the turn, as the generator draws them after its step.

        The generator stands still meanwhile, so they share the images too.
        """
        kept: Tensor = self.generator(latents)
        return kept

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Keep the feature maps of both networks."""
        with ExitStack() as hooks:
            for maps in self.maps:
                hooks.enter_context(maps)
            yield

    def student_loss(
        self, batch: SyntheticBatch, teacher_logits: Tensor, output: StudentOutput, gather: Gather
    ) -> StudentLoss:
        """``beta sum_l AT_l`` over the resolutions of which both networks have a feature map."""
        super().student_loss(batch, teacher_logits, output, gather)
        if not self.maps:
            return StudentLoss({}, {})
        of_teacher, of_student = self.maps
        if batch.teacher_logits is None:  # the first step of a turn: later ones do not ask the teacher
            self._teacher_maps = dict(of_teacher.latest)
        pairs = ((of_student.latest[size], self._teacher_maps[size]) for size in self.sizes)
        attention = torch.stack([attention_transfer_loss(student, teacher) for student, teacher in pairs])
        return StudentLoss({"attention": self.attention_weight * attention.sum()}, {})


def _sizes_of_both(of_teacher: FeatureMaps, of_student: FeatureMaps) -> list[tuple[int, int]]:
    """Return the sizes that both have, but for 1x1, where attention is 1 whatever the network."""
    sizes = [size for size in of_teacher.sizes if size in of_student.sizes and size != (1, 1)]
    if not sizes:
        raise ValueError(
            "synthesis.attention_weight: expected teacher and student to have feature maps of one size, got "
            f"{list(of_teacher.sizes)} and {list(of_student.sizes)}. Set it to 0, or choose another student."
        )
    return sizes

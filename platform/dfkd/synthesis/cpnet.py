"""CPNet: the generator is built as the inverse of the teacher, and its feature maps are drawn to the teacher's own.

Source: Chen et al., Coupling the Generator with Teacher for Effective Data-Free Knowledge Distillation, ICCV 2025, and
its public code, on which this reading rests.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.augmentation import colour_jitter, cut_mix
from dfkd.domain import Domain
from dfkd.generators.coupled import CoupledGenerator, find_nodes
from dfkd.initialisation import reset_layers
from dfkd.losses.adversarial import adversarial_loss
from dfkd.losses.inversion import BatchNormStatistics
from dfkd.losses.label_alignment import alignment_loss, clamped_pseudo_inverse
from dfkd.losses.remembered_statistics import RememberedStatistics
from dfkd.noise.label_noise_layer import NoisyLinear
from dfkd.settings.synthesis import CPNetSettings
from dfkd.synthesis.banked import Banked, BestBatch, descend
from dfkd.synthesis.class_draw import draw_labels, resolve_prior
from dfkd.synthesis.classifier import find_classifier
from dfkd.teacher_student import TeacherStudent


class CPNet(Banked):
    """CPNet as a ``Synthesizer``; arguments as for ``Banked``.

    Serves any teacher with BatchNorm2d layers and a Linear layer that gives the logits.

    Deviations: the layers to couple with are found by a rule (``find_nodes``), not in a table of four networks; the
    noisy layer is this platform's (``NoisyLinear``); rescaling uses biased variances and BatchNorm's epsilon; crops
    repeat edge pixels; the student's cosine ends at 0, not at 2e-4; the student argues in evaluation mode throughout,
    theirs in an epoch's first batch only. The public code as released stops at its first step
    (it logs a ``loss_dis`` that is never computed); what it would do without that line is what stands here.

    Raises:
        ValueError: if the teacher has no BatchNorm2d, or does not end in a Linear layer.
    """

    def __init__(
        self, settings: CPNetSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator
    ) -> None:
        nodes = find_nodes(pair.teacher, domain.image_shape)
        super().__init__(settings, pair, domain, generator)
        self.settings, device = settings, pair.device
        self.class_prior = resolve_prior("uniform", teacher=pair.teacher, domain=domain, device=device)
        images_per_class = math.ceil(settings.batch_size / domain.num_classes)
        self.noise = NoisyLinear(settings.noise, domain.label_embeddings, images_per_class=images_per_class).to(device)
        self.generator = CoupledGenerator(
            [node.shape for node in nodes], latent_width=settings.noise.width, image_shape=domain.image_shape
        ).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._start_afresh()
        self.remembered = RememberedStatistics(
            pair.teacher, nodes=[node.layer for node in nodes], momentum=settings.statistics_momentum
        )
        self._classifier = find_classifier(pair.teacher, domain.image_shape, wanted_by="cpnet")
        self._inverse = clamped_pseudo_inverse(self._classifier.weight.detach())  # [K, D]
        self._bias = self._inverse.new_zeros(len(self._inverse))  # [K]
        if self._classifier.bias is not None:
            self._bias = self._classifier.bias.detach()
        self._features: list[Tensor] = []  # [B, D] of the newest pass

    def start_epoch(self, epoch: int) -> None:
        """Start generator and noisy layer afresh in every n-th epoch, and in every n-th after warm-up."""
        every = self.settings.reset_generator_every
        if every and (epoch % every == 0 or (epoch - self.warm_up_epochs) % every == 0):
            self._start_afresh()

    def statistics(self) -> AbstractContextManager[BatchNormStatistics]:
        """Hook the teacher's BatchNorm layers, and the classifier to see its features."""
        return self._hooked()

    @contextmanager
    def _hooked(self) -> Iterator[BatchNormStatistics]:
        def note(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            self._features = [inputs[0]]

        handle = self._classifier.register_forward_pre_hook(note)
        try:
            with self.remembered.hooked() as statistics:
                yield statistics
        finally:
            handle.remove()
            self._features = []

    def round(self, statistics: BatchNormStatistics, *, adversarial: bool) -> dict[str, Tensor]:
        """Train the generator on one draw of the noisy layer; its best batch goes to the bank."""
        settings = self.settings
        labels = draw_labels(self.class_prior, settings.batch_size, self.random)  # [B]
        self.noise.reset_weights(self.random)
        drawn = self.noise.draw(labels, self.random)
        parameters = [*self.generator.parameters(), *self.noise.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate, betas=settings.betas, fused=True)
        best = BestBatch(labels.device)
        terms: dict[str, Tensor] = {}
        for _ in range(settings.generator_steps):
            images, maps = self.generator(self.noise(labels, drawn).flatten(0, 1))  # [B, C, H, W]
            loss, terms = self._loss(images, maps, labels, statistics, adversarial=adversarial)
            best.offer(images, loss)
            descend(optimizer, loss)
        assert best.images is not None
        self.bank.add(best.images, labels, torch.zeros_like(labels))
        return terms | {"generator_loss": best.loss}

    def _loss(
        self,
        images: Tensor,
        maps: list[Tensor],
        labels: Tensor,
        statistics: BatchNormStatistics,
        *,
        adversarial: bool,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Weigh ``CE + BN + sum_l MSE(G_l, T_l) + (L_adv + L_align)``; return it and its terms.

        As in the public code, the maps G_l of the images are compared with the teacher's maps T_l of their augmented
        and mixed views, and the alignment takes the labels before mixing.
        """
        weights, settings = self.settings.weights, self.settings
        views = colour_jitter(
            self.augment(images),
            strength=settings.colour_jitter,
            probability=settings.colour_jitter_probability,
            generator=self.random,
        )
        views, partners, share = cut_mix(views, probability=settings.cut_mix_probability, generator=self.random)
        normalised = self.domain.normalise(views)
        teacher_logits = self.pair.teacher(normalised)
        own, pasted = (F.cross_entropy(teacher_logits, of, reduction="none") for of in (labels, labels[partners]))
        one_hot = ((1 - share) * own + share * pasted).mean()
        batch_norm = statistics.loss()
        pairs = zip(maps, self.remembered.targets(), strict=True)
        coupling = torch.stack([F.mse_loss(made, seen) for made, seen in pairs]).sum()
        loss = weights.one_hot * one_hot + weights.batch_norm * batch_norm + weights.coupling * coupling
        hits = (teacher_logits.argmax(dim=1) == labels).float().mean()
        terms = {"one_hot": one_hot.detach(), "batch_norm": batch_norm.detach(), "coupling": coupling.detach()}
        terms["label_match"] = hits
        if adversarial and weights.adversarial:
            # Teacher and student change places: the public code has KL(p_S || p_T) here.
            against_student = adversarial_loss(teacher_logits, self.pair.student(normalised))
            alignment = alignment_loss(
                self._features[0], labels, self._bias, self._inverse, smoothing=settings.label_smoothing
            )
            loss = loss + weights.adversarial * (against_student + weights.alignment * alignment)
            terms |= {"adversarial": against_student.detach(), "alignment": alignment.detach()}
        return loss, terms

    def _start_afresh(self) -> None:
        reset_layers(self.generator, self.random)
        self.noise.start_round(self.random)  # its BatchNorm too

    def parts(self) -> dict[str, Any]:
        """Return generator, noise layer, remembered statistics and the bank. The optimiser is new in every round."""
        mine = {"generator": self.generator, "noise": self.noise, "statistics": self.remembered}
        return super().parts() | mine

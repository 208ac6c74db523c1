"""NAYER: meaning comes in as label embeddings, and randomness as a layer that is forgotten for every batch.

Source: Tran et al., NAYER: Noisy Layer Data Generation for Efficient and Effective Data-free Knowledge Distillation,
CVPR 2024, and its public code, which is followed where it says more than the paper: generator and noisy layer start
afresh every few epochs, counted from the first and from the end of warm-up; every batch has a new optimiser; BatchNorm
statistics are compared as moving averages over batches; the bank keeps every image.

Deviation: images repeat their edges where a shift opens a gap, theirs are black there; the student learns from a draw
with replacement, theirs shuffles the whole bank; the student's learning rate falls to 0 by the step, theirs to 2e-4 by
the epoch. In their code the student argues in evaluation mode in an epoch's first batch only, and in training mode in
the others, where its BatchNorm also takes in synthetic statistics; here it is in evaluation mode throughout.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dfkd.domain import Domain
from dfkd.generators import build_generator
from dfkd.losses.inversion import BatchNormStatistics
from dfkd.noise.label_noise_layer import NoisyLinear
from dfkd.settings.synthesis import NayerSettings
from dfkd.synthesis.banked import Banked, BestBatch, descend
from dfkd.synthesis.class_draw import draw_labels
from dfkd.teacher_student import TeacherStudent


class Nayer(Banked):
    """NAYER as a ``Synthesizer``; arguments as for ``Banked``."""

    def __init__(
        self, settings: NayerSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator
    ) -> None:
        super().__init__(settings, pair, domain, generator)
        self.settings = settings
        self.class_shares = torch.full((domain.num_classes,), 1 / domain.num_classes, device=pair.device)
        images_per_class = math.ceil(settings.batch_size / domain.num_classes)
        self.noise = NoisyLinear(settings.noise, domain.label_embeddings, images_per_class=images_per_class)
        self.noise.to(pair.device)
        self.generator = build_generator(
            settings.generator, latent_width=self.noise.width, image_shape=domain.image_shape
        ).to(pair.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._start_afresh()

    def start_epoch(self, epoch: int) -> None:
        """Start generator and noisy layer afresh in every n-th epoch, and in every n-th after warm-up."""
        every = self.settings.reset_generator_every
        if every and (epoch % every == 0 or (epoch - self.warm_up_epochs) % every == 0):
            self._start_afresh()

    def round(self, statistics: BatchNormStatistics, *, adversarial: bool) -> dict[str, Tensor]:
        """Train generator and noisy layer on every class equally often; their best batch goes to the bank."""
        labels = draw_labels(self.class_shares, self.settings.batch_size, self.random)  # [B]
        self.noise.reset_weights(self.random)
        optimizer = torch.optim.Adam(
            [*self.generator.parameters(), *self.noise.parameters()],
            lr=self.settings.learning_rate,
            betas=self.settings.betas,
            fused=True,
        )
        drawn = self.noise.draw(labels, self.random)  # nothing: the layer's weights are the noise
        best = BestBatch(labels.device)
        terms: dict[str, Tensor] = {}
        for _ in range(self.settings.generator_steps):
            images = self.generator(self.noise(labels, drawn).squeeze(0))  # [B, C, H, W]
            loss, terms = self.inversion_loss(
                images, labels, statistics, self.settings.weights, adversarial=adversarial
            )
            descend(optimizer, loss)
            best.offer(images, loss)
        assert best.images is not None
        self.bank.add(best.images, labels, torch.zeros_like(labels))
        return terms | {"generator_loss": best.loss}

    def parts(self) -> dict[str, Any]:
        """Return generator, noisy layer and what ``Banked`` keeps; no optimiser outlives its round."""
        return super().parts() | {"generator": self.generator, "noise": self.noise}

    def _start_afresh(self) -> None:
        self.generator.reset_parameters(self.random)
        self.noise.start_round(self.random)  # its BatchNorm too

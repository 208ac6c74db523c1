"""CMI: images that the teacher can tell apart from all those made before.

Source: Fang et al., Contrastive Model Inversion for Data-Free Knowledge Distillation, IJCAI 2021, and its public code,
which is followed where it says more than the paper: the generator is drawn anew for every batch, from N(0, 0.02), and
learns together with the latents; the head of the contrast stays and learns on; the local view of every image, new or
remembered, is looked for among the whole views, and only local views get a gradient; there is no warm-up.

Deviation: images repeat their edges where a shift opens a gap, theirs are black there; the student learns from a draw
with replacement, theirs shuffles the whole bank; the student's learning rate falls by the step, theirs by the epoch. No
run begins with images that were inverted before, as the one behind the published tables does. In their code the batch
after the one that fills the memory has no finite loss, and images of an untrained generator are stored for it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dfkd.augmentation import random_resized_crop
from dfkd.domain import Domain
from dfkd.generators import build_generator
from dfkd.initialisation import reset_layers_normally
from dfkd.losses.inversion import BatchNormStatistics
from dfkd.settings.synthesis import ContrastiveInversionSettings
from dfkd.synthesis.banked import Banked, BestBatch, descend
from dfkd.synthesis.instance_discriminator import InstanceDiscriminator
from dfkd.synthesis.pooled_features import pooled_features, pooled_width
from dfkd.teacher_student import TeacherStudent


class ContrastiveInversion(Banked):
    """CMI as a ``Synthesizer``; arguments as for ``Banked``."""

    def __init__(
        self, settings: ContrastiveInversionSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator
    ) -> None:
        super().__init__(settings, pair, domain, generator)
        self.settings = settings
        self.generator = build_generator(
            settings.generator, latent_width=settings.latent_width, image_shape=domain.image_shape
        ).to(pair.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.discriminator = InstanceDiscriminator(
            settings.contrast,
            feature_width=pooled_width(pair.teacher, domain.image_shape, settings.contrast.features),
            learning_rate=settings.learning_rate,
            generator=generator,
            device=pair.device,
        )

    def round(self, statistics: BatchNormStatistics, *, adversarial: bool) -> dict[str, Tensor]:
        """Train a new generator and the latents of one batch; its best state goes to the bank and to the memory."""
        settings, device = self.settings, self.pair.device
        shape = (settings.batch_size, settings.latent_width)
        latents = torch.randn(shape, generator=self.random, device=device).requires_grad_()  # [B, Z]
        labels = torch.randint(self.domain.num_classes, shape[:1], generator=self.random, device=device)  # [B]
        labels = labels.sort().values  # so that a preview shows images of a class side by side
        reset_layers_normally(self.generator, self.random)
        optimizer = torch.optim.Adam(
            [*self.generator.parameters(), latents], lr=settings.learning_rate, betas=settings.betas, fused=True
        )
        best, best_features = BestBatch(device), BestBatch(device)
        terms: dict[str, Tensor] = {}
        layers = settings.contrast.features
        with pooled_features(self.pair.teacher, self.domain.image_shape, layers) as newest_features:
            for _ in range(settings.generator_steps):
                images = self.generator(latents)  # [B, C, H, W]
                loss, terms = self.inversion_loss(images, labels, statistics, settings.weights, adversarial=adversarial)
                whole = newest_features()  # [B, F]
                self.pair.teacher(self.domain.normalise(self.local_view(images)))
                local = newest_features()  # [B, F]
                statistics.forget()  # local views are not asked to match any
                contrast = self.discriminator.contrast(local, whole)
                loss = loss + settings.contrast.weight * contrast
                terms["contrast"] = contrast.detach()
                self.discriminator.optimizer.zero_grad(set_to_none=True)
                descend(optimizer, loss)
                self.discriminator.optimizer.step()
                best.offer(images, loss)
                best_features.offer(torch.cat([local, whole], dim=1), loss)
        assert best.images is not None and best_features.images is not None
        self.bank.add(best.images, labels, torch.zeros_like(labels))
        self.discriminator.memory.add(best_features.images)
        return terms | {"generator_loss": best.loss}

    def local_view(self, images: Tensor) -> Tensor:
        """Cut a window out of every image, and mirror half of them where that keeps the label."""
        return random_resized_crop(
            images,
            smallest_share=self.settings.contrast.smallest_view,
            horizontal_flip=self.domain.horizontal_flip,
            generator=self.random,
        )

    def parts(self) -> dict[str, Any]:
        """Return the discriminator and what ``Banked`` keeps; no generator outlives its round."""
        return super().parts() | {"discriminator": self.discriminator}

"""``GenerativeMemory``: a VAE in place of stored images. It learns what it is shown and recalls the like of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dfkd.domain import Domain
from dfkd.generators import build_generator
from dfkd.initialisation import reset_layers
from dfkd.losses.kd import l1_loss
from dfkd.losses.replay import gaussian_divergence, latent_moments_loss
from dfkd.settings.synthesis import GenerativeMemorySettings, GeneratorSettings
from dfkd.synthesis.banked import descend
from dfkd.synthesis.image_encoder import ImageEncoder
from dfkd.teacher_student import TeacherStudent


class GenerativeMemory:
    """Of bounded size, whatever it was shown: an encoder, a generator as decoder and their optimiser.

    Source: Binici et al., PRE-DFKD, AAAI 2022, public code.

    Args:
        settings: of the memory.
        generator: of the decoder.
        latent_width: Z.
        match: the teacher's logits [B, K] -> what latents are improved by, a scalar.
        pair: its teacher judges what is rebuilt.
        domain: what is known of the real data.
        random: the source of all randomness, on the training device.
    """

    def __init__(
        self,
        settings: GenerativeMemorySettings,
        generator: GeneratorSettings,
        *,
        latent_width: int,
        match: Callable[[Tensor], Tensor],
        pair: TeacherStudent,
        domain: Domain,
        random: torch.Generator,
    ) -> None:
        self.settings, self.teacher, self.domain, self.random = settings, pair.teacher, domain, random
        self._latent_width, self._match, self._device = latent_width, match, pair.device
        shape, layout = domain.image_shape, torch.channels_last
        self.encoder = ImageEncoder(width=settings.width, latent_width=latent_width, image_shape=shape)
        self.decoder = build_generator(generator, latent_width=latent_width, image_shape=shape)
        for network in (self.encoder, self.decoder):
            network.to(pair.device, memory_format=layout)  # type: ignore[call-overload]
            reset_layers(network, random)
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate, fused=True)

    def recall(self, count: int) -> Tensor:
        """Return remembered images [count, C, H, W] in [0, 1], without gradient."""
        self.decoder.eval()
        return self._decode(count)

    @torch.enable_grad()
    def learn(self, images: Tensor, *, rehearsed: int) -> Tensor:
        """Take one step on images, and on some that it recalls itself lest it forget; return its loss.

        ``mean |x^ - x| + mean |T(x^) - T(x)| + beta KL(q(z | x) || N(0, 1))``, images normalised.

        Args:
            images: [B, C, H, W] in [0, 1], without gradient.
            rehearsed: number of recalled ones beside them; 0 as long as there is nothing to recall.
        """
        self.decoder.train()
        if rehearsed:
            images = torch.cat([images, self._decode(rehearsed)])
        images = self.domain.normalise(images)
        with torch.no_grad():
            teacher_logits = self.teacher(images)
        mean, log_variance = self.encoder(images)
        latents = mean + (0.5 * log_variance).exp() * self._draw(len(images))
        rebuilt = self.domain.normalise(self.decoder(latents))
        divergence = self.settings.divergence * gaussian_divergence(mean, log_variance)
        loss = l1_loss(rebuilt, images) + l1_loss(self.teacher(rebuilt), teacher_logits) + divergence
        descend(self.optimizer, loss)
        return loss.detach()

    def _decode(self, count: int) -> Tensor:
        latents = self._improve(self._draw(count))
        with torch.no_grad():
            images: Tensor = self.decoder(latents)
        return images

    @torch.enable_grad()
    def _improve(self, latents: Tensor) -> Tensor:
        """Move latents [B, Z] towards images that the teacher is sure of, and keep them near a standard Gaussian."""
        latents.requires_grad_()
        optimizer = torch.optim.Adam([latents], lr=self.settings.latent_learning_rate, fused=True)
        for _ in range(self.settings.latent_steps):
            logits = self.teacher(self.domain.normalise(self.decoder(latents)))
            loss = self._match(logits) + latent_moments_loss(latents)
            (latents.grad,) = torch.autograd.grad(loss, latents)  # of the latents alone, not of the decoder
            optimizer.step()
        return latents.detach()

    def _draw(self, count: int) -> Tensor:
        return torch.randn(count, self._latent_width, generator=self.random, device=self._device)

    def parts(self) -> dict[str, Any]:
        """Return all that a resumed run needs, by name."""
        return {"memory_encoder": self.encoder, "memory_decoder": self.decoder, "memory_optimizer": self.optimizer}

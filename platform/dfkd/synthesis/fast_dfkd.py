"""FastDFKD: a meta-generator from which any batch is only a few steps away.

Source: Fang et al., Up to 100x Faster Data-Free Knowledge Distillation, AAAI 2022, and its public code (method
``fast_meta``), which is followed where it says more than the paper: the first-order gradient of MAML is summed over all
inner steps and not taken from the last alone; the meta-generator's Adam has k times the inner learning rate; BatchNorm
statistics are compared as moving averages over batches; once, late in the run, Linear and first BatchNorm of the
meta-generator are drawn anew from N(0, 0.02), BatchNorm's scale among them.

Deviation: images repeat their edges where a shift opens a gap, theirs are black there; the student learns from a draw
with replacement, theirs shuffles the whole bank; the student's learning rate falls to 0 by the step, theirs to 2e-4 by
the epoch. Their adversarial term begins one epoch early, in the last of warm-up, against a student that never learnt.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.generators import build_generator
from dfkd.losses.inversion import BatchNormStatistics
from dfkd.settings.synthesis import FastSettings
from dfkd.synthesis.banked import Banked, BestBatch, descend
from dfkd.teacher_student import TeacherStudent

REPTILE_SCALE = 67.0  # of the public code; to Adam, which divides by the gradient's size, it is all but 1
FIRST_LAYER_STD = 0.02


class FastDfkd(Banked):
    """FastDFKD as a ``Synthesizer``; arguments as for ``Banked``."""

    def __init__(
        self, settings: FastSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator
    ) -> None:
        super().__init__(settings, pair, domain, generator)
        self.settings = settings
        self.generator = build_generator(
            settings.generator, latent_width=settings.latent_width, image_shape=domain.image_shape
        ).to(pair.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.generator.reset_parameters(self.random)
        self.meta_optimizer = torch.optim.Adam(
            self.generator.parameters(),
            lr=settings.learning_rate * settings.generator_steps,
            betas=settings.betas,
            fused=True,
        )

    def start_epoch(self, epoch: int) -> None:
        """Draw the meta-generator's first layer anew in one epoch."""
        turn = self.settings.reset_first_layer_in
        if turn and epoch + 1 == self.warm_up_epochs + turn:
            for layer in (self.generator.project, self.generator.norm):
                nn.init.normal_(layer.weight, std=FIRST_LAYER_STD, generator=self.random)
                nn.init.zeros_(layer.bias)

    def round(self, statistics: BatchNormStatistics, *, adversarial: bool) -> dict[str, Tensor]:
        """Adapt a copy of the meta-generator to new latents and labels; its best batch goes to the bank.

        What the inner steps did to the copy then moves the meta-generator by one step.
        """
        settings, device = self.settings, self.pair.device
        shape = (settings.batch_size, settings.latent_width)
        latents = torch.randn(shape, generator=self.random, device=device).requires_grad_()  # [B, Z]
        labels = torch.randint(self.domain.num_classes, shape[:1], generator=self.random, device=device)  # [B]
        adapted = copy.deepcopy(self.generator)
        optimizer = torch.optim.Adam(
            [{"params": adapted.parameters()}, {"params": [latents], "lr": settings.latents_learning_rate}],
            lr=settings.learning_rate,
            betas=settings.betas,
            fused=True,
        )
        best = BestBatch(device)
        terms: dict[str, Tensor] = {}
        zero_gradients(self.generator)
        for _ in range(settings.generator_steps):
            images = adapted(latents)  # [B, C, H, W]
            loss, terms = self.inversion_loss(images, labels, statistics, settings.weights, adversarial=adversarial)
            descend(optimizer, loss)
            best.offer(images, loss)
            if settings.meta == "fomaml":
                add_inner_gradient(self.generator, adapted)
        if settings.meta == "reptile":
            add_inner_path(self.generator, adapted)
        self.meta_optimizer.step()
        assert best.images is not None
        self.bank.add(best.images, labels, torch.zeros_like(labels))
        return terms | {"generator_loss": best.loss}

    def parts(self) -> dict[str, Any]:
        """Return meta-generator, its optimiser and what ``Banked`` keeps; the copy does not outlive its round."""
        return super().parts() | {"generator": self.generator, "meta_optimizer": self.meta_optimizer}


def zero_gradients(network: nn.Module) -> None:
    """Set every gradient to zeros, so that there is something to add to."""
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)


@torch.no_grad()
def add_inner_gradient(network: nn.Module, adapted: nn.Module) -> None:
    """Add the gradient of an adapted copy to the network's own: FOMAML, one inner step of it.

    Source: Finn et al., Model-Agnostic Meta-Learning, ICML 2017, section 5.2, with the second derivatives left out.
    """
    for parameter, copied in zip(network.parameters(), adapted.parameters(), strict=True):
        assert parameter.grad is not None and copied.grad is not None
        parameter.grad += copied.grad


@torch.no_grad()
def add_inner_path(network: nn.Module, adapted: nn.Module) -> None:
    """Add ``67 (theta - theta')`` to the network's gradient: Reptile, from where an adapted copy ended.

    Source: Nichol et al., On First-Order Meta-Learning Algorithms, 2018, algorithm 1, used as a gradient for Adam.
    """
    for parameter, copied in zip(network.parameters(), adapted.parameters(), strict=True):
        assert parameter.grad is not None
        parameter.grad.add_(parameter - copied, alpha=REPTILE_SCALE)

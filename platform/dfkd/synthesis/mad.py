"""MAD (our reading): a moving average of the generator recalls for the student what it learnt before.

Source: Do et al., Momentum Adversarial Distillation: Handling Large Distribution Shifts in Data-Free Knowledge
Distillation, NeurIPS 2022, arXiv 2209.10359. No public code exists, and of the paper we had its abstract, its first
figure and summaries, not the full text.

- The paper's: an exponential moving average of the generator, of momentum 0.95; a student that learns from images of
  both, each with noise and classes of its own; for large data sets a class-conditional generator G(z + e_y), whose
  trained class embeddings both share; for it a loss of KD, negative log-likelihood and a norm; that KD is bounded in
  practice and that the class-conditional generator is trained before the student.
- Ours: every weight, number of steps and learning rate, the form of the bound and of the norm, classes that are drawn
  uniformly, and the shares of a batch.

Deviation: both generators share one batch, so that a step costs what it costs in other methods. The paper weighs the KD
losses of two batches and reports 40 % more time.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.losses.bounded import bounded_adversarial_loss, embedding_norm_loss
from dfkd.losses.inversion import BatchNormStatistics, one_hot_loss
from dfkd.settings.synthesis import MadSettings
from dfkd.synthesis.banked import descend
from dfkd.synthesis.online import Online
from dfkd.synthesis.protocol import SyntheticBatch
from dfkd.teacher_student import TeacherStudent


class MomentumAdversarial(Online):
    """MAD as a ``Synthesizer``; arguments as for ``Online``.

    Attributes:
        labels: [B], the classes that the newest latents were drawn for; None without class embeddings.
    """

    def __init__(self, settings: MadSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator) -> None:
        super().__init__(settings, pair, domain, generator)
        self.settings = settings
        self.labels: Tensor | None = None
        self.embeddings: nn.Embedding | None = None
        if settings.class_conditional:
            self.embeddings = nn.Embedding(domain.num_classes, settings.latent_width, device=pair.device)
            nn.init.normal_(self.embeddings.weight, generator=generator)
            self.optimizer.add_param_group({"params": self.embeddings.parameters()})
        self.ema_generator = copy.deepcopy(self.generator).requires_grad_(False)
        self.optimizer.register_step_post_hook(lambda *_: self._follow())

    def synthesize(self, epoch: int, progress: float) -> dict[str, Tensor]:
        """Take the generator's steps of one turn; before the first turn of all, train it without the student."""
        if epoch == 0 and progress == 0:
            for _ in range(self.settings.pretraining_steps):
                images = self.generator(self.draw(self.settings.batch_size))
                descend(self.optimizer, self._class_loss(self.pair.teacher(self.domain.normalise(images)))[0])
        return super().synthesize(epoch, progress)

    def generator_loss(self, images: Tensor, statistics: BatchNormStatistics) -> tuple[Tensor, dict[str, Tensor]]:
        """Weigh ``-min(KD(T(x), S(x)), bound) + NLL(T(x), y) + norm(E)``; the last two are of a generator of classes.

        Args:
            images: x [B, C, H, W] in [0, 1], made from the newest latents.
            statistics: not used.
        """
        normalised = self.domain.normalise(images)
        teacher_logits = self.pair.teacher(normalised)
        adversarial = bounded_adversarial_loss(
            self.pair.student(normalised), teacher_logits, bound=self.settings.adversarial_bound
        )
        loss, terms = self._class_loss(teacher_logits)
        return loss + self.settings.weights.adversarial * adversarial, terms | {"adversarial": adversarial.detach()}

    def _class_loss(self, teacher_logits: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of being asked for classes, and its terms; 0 without class embeddings."""
        if self.embeddings is None:
            return torch.zeros((), device=teacher_logits.device), {}
        assert self.labels is not None
        weights = self.settings.weights
        one_hot = one_hot_loss(teacher_logits, self.labels)
        norm = embedding_norm_loss(self.embeddings.weight)
        hits = (teacher_logits.argmax(dim=1) == self.labels).float().mean()
        terms = {"one_hot": one_hot.detach(), "embedding_norm": norm.detach(), "label_match": hits}
        return weights.one_hot * one_hot + weights.embedding_norm * norm, terms

    def draw(self, batch_size: int) -> Tensor:
        """Draw latents z, or z + e_y for classes y, which ``labels`` keeps; [B, Z]."""
        noise = super().draw(batch_size)
        if self.embeddings is None:
            return noise
        classes = self.embeddings.num_embeddings
        self.labels = torch.randint(classes, (batch_size,), generator=self.random, device=noise.device)
        latents: Tensor = noise + self.embeddings(self.labels)
        return latents

    @torch.no_grad()
    def sample(self, batch_size: int) -> SyntheticBatch:
        """Make new images with the generator and with its moving average, in training mode both."""
        num_recalled = round(self.settings.ema_share * batch_size)
        images, labels = [], []
        for network, count in ((self.generator, batch_size - num_recalled), (self.ema_generator, num_recalled)):
            if count:
                images.append(network(self.draw(count)))
                labels.append(self.labels)
        self._newest = torch.cat(images)
        known = [part for part in labels if part is not None]
        return SyntheticBatch(images=self._newest, labels=torch.cat(known) if known else None)

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average after the generator: ``theta~ <- alpha theta~ + (1 - alpha) theta``."""
        pairs = zip(self.ema_generator.parameters(), self.generator.parameters(), strict=True)
        for average, parameter in pairs:
            average.lerp_(parameter, 1 - self.settings.ema_momentum)

    def parts(self) -> dict[str, Any]:
        """Return both generators, the class embeddings and the optimiser."""
        embeddings = {} if self.embeddings is None else {"embeddings": self.embeddings}
        return super().parts() | embeddings | {"ema_generator": self.ema_generator}

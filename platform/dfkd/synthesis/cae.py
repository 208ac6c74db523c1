"""CAE-DFKD (our reading): structured noise from category embeddings, and contrast over categories and noise sources.

Source: Zhang et al., CAE-DFKD: Bridging the Transferability Gap in Data-Free Knowledge Distillation, DAC 2025,
arXiv 2504.21478. The paper gives CEND's formula, N = 4, the three generator losses and the idea of CNCL; no public
code exists. Schedule, weights, generator and every constant are our reading, built on the conventions of FastDFKD
and NAYER.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dfkd.augmentation import colour_jitter, random_resized_crop
from dfkd.domain import Domain
from dfkd.generators import build_generator
from dfkd.image_bank import BankSample
from dfkd.initialisation import reset_layers
from dfkd.losses.contrastive import cncl_pairs, contrast, supervised_pairs, view_pairs
from dfkd.losses.inversion import BatchNormStatistics
from dfkd.models.protocol import with_features
from dfkd.noise import build_noise_layer
from dfkd.settings.synthesis import CategoryAwareSettings
from dfkd.synthesis.banked import Banked, BestBatch, descend
from dfkd.synthesis.class_draw import draw_labels, resolve_prior
from dfkd.synthesis.projection_head import ProjectionHead
from dfkd.synthesis.protocol import Gather, SingleWorker, StudentLoss, StudentOutput, SyntheticBatch
from dfkd.teacher_student import TeacherStudent


class CategoryAware(Banked):
    """CAE-DFKD as a ``Synthesizer``; arguments as for ``Banked``."""

    def __init__(
        self, settings: CategoryAwareSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator
    ) -> None:
        self.settings = settings
        device = pair.device
        self.class_prior = resolve_prior(settings.class_prior, teacher=pair.teacher, domain=domain, device=device)
        images_per_class = math.ceil(settings.batch_size * float(self.class_prior.max()))
        self.noise = build_noise_layer(settings.noise, domain.label_embeddings, images_per_class=images_per_class).to(
            device
        )
        super().__init__(settings, pair, domain, generator, num_sources=self.noise.num_sources)
        self.generator = build_generator(
            settings.generator, latent_width=self.noise.width, image_shape=domain.image_shape
        ).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.student_head = self._build_head()
        self._reset_generator()

    def start_epoch(self, epoch: int) -> None:
        """Start with a fresh generator in every n-th epoch."""
        if self.settings.reset_generator_every and epoch % self.settings.reset_generator_every == 0:
            self._reset_generator()

    def round(self, statistics: BatchNormStatistics, *, adversarial: bool) -> dict[str, Tensor]:
        """Train the generator on one draw of classes and noise; its best batch goes to the bank."""
        batch_size = self.settings.batch_size
        labels, all_labels, sources = self._draw_labels(batch_size)  # [L], [B], [B]
        if self.noise.start_round(self.random):
            self._forget_moments(self.noise)
        drawn = self.noise.draw(labels, self.random)
        best = BestBatch(labels.device)
        terms: dict[str, Tensor] = {}
        for _ in range(self.settings.generator_steps):
            if self.settings.redraw_noise:
                drawn = self.noise.draw(labels, self.random)
            images = self.generator(self.noise(labels, drawn).flatten(0, 1)[:batch_size])  # [B, C, H, W]
            loss, terms = self.inversion_loss(
                images, all_labels, statistics, self.settings.weights, adversarial=adversarial
            )
            descend(self.optimizer, loss)
            best.offer(images, loss)
        assert best.images is not None
        self.bank.add(best.images, all_labels, sources)
        return terms | {"generator_loss": best.loss}

    def sample(self, batch_size: int) -> SyntheticBatch:
        """Draw from the bank, class-balanced for every kind of contrast, so that an ablation changes the loss alone.

        ``fresh`` takes half of the batch from the generator at this moment, ``simclr`` takes two views of every image.
        """
        kind = self.settings.contrast.kind
        if kind == "simclr":
            half = self._sample_bank(-(-batch_size // 2))
            twice = BankSample(*(value.repeat_interleave(2, 0) for value in half))
            return SyntheticBatch(**twice._replace(images=self._views(twice.images))._asdict())
        num_banked = batch_size // 2 if kind == "fresh" else batch_size
        banked = self._sample_bank(num_banked)
        if kind != "fresh":
            return SyntheticBatch(**banked._asdict())
        fresh = self._generate(batch_size - num_banked)
        return SyntheticBatch(
            images=torch.cat([banked.images, fresh.images]),
            labels=torch.cat([banked.labels, fresh.labels]),
            sources=torch.cat([banked.sources, fresh.sources]),
        )

    def _views(self, images: Tensor) -> Tensor:
        """Change every image [B, C, H, W] as SimCLR does; the loop's own shift and flip come on top.

        Source: Chen et al., SimCLR, ICML 2020, appendix A, with its CIFAR-10 strengths. Deviations: crops of at least
        20 % of the area instead of 8 %, which is 2x2 pixels of an 8x8 image; mirrored only where an image keeps its
        label; no greyscale.
        """
        cropped = random_resized_crop(
            images, smallest_share=0.2, horizontal_flip=self.domain.horizontal_flip, generator=self.random
        )
        return colour_jitter(cropped, strength=0.4, hue=0.1, probability=0.8, generator=self.random)

    def _sample_bank(self, batch_size: int) -> BankSample:
        return self.bank.sample_balanced(batch_size, num_classes=self.domain.num_classes, generator=self.random)

    @torch.no_grad()
    def _generate(self, count: int) -> BankSample:
        """Make ``count`` images with the generator as it stands, every drawn class under every source."""
        labels, all_labels, sources = self._draw_labels(count)
        latents = self.noise(labels, self.noise.draw(labels, self.random)).flatten(0, 1)[:count]
        return BankSample(self.generator(latents), all_labels, sources)

    def _draw_labels(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw labels [L] for latents [N, L, Z], and return label and source of the first ``count`` of these N * L."""
        num_sources = self.noise.num_sources
        labels = draw_labels(self.class_prior, -(-count // num_sources), self.random)  # L rounded up
        sources = torch.arange(num_sources, device=labels.device).repeat_interleave(len(labels))
        return labels, labels.repeat(num_sources)[:count], sources[:count]

    def student_loss(
        self, batch: SyntheticBatch, teacher_logits: Tensor, output: StudentOutput, gather: Gather
    ) -> StudentLoss:
        """``lambda L_CNCL`` (or its control) over the batch; for ``fresh`` over its generated half."""
        settings = self.settings.contrast
        if output.projections is None:
            return StudentLoss({}, {})
        assert batch.labels is not None and batch.sources is not None
        gather = gather if settings.across_workers else SingleWorker()
        first = len(batch.images) // 2 if settings.kind == "fresh" else 0
        anchors, labels, sources = output.projections[first:], batch.labels[first:], batch.sources[first:]
        matching = teacher_logits[first:].argmax(dim=1) == labels
        number = gather.rank * len(labels) + torch.arange(len(labels), device=labels.device)
        own = torch.stack([number, labels, sources, matching.long()], dim=1)  # [A, 4]: gathered at once
        everyone = gather(own)  # [workers * A, 4]
        positives, negatives = self._pairs(own, everyone)
        if settings.only_matching:
            both_match = (own[:, None, 3] & everyone[:, 3]).bool()
            positives, negatives = positives & both_match, negatives & both_match
        usable = gather(positives.any(dim=1))  # [workers * A]
        num_workers = len(usable) // len(anchors)
        loss = contrast(
            anchors,
            gather(anchors),
            positives,
            negatives,
            temperature=settings.temperature,
            num_usable=usable.sum().clamp_min(1) / num_workers,
        )
        metrics = {
            "usable_anchors": usable.float().mean(),
            "label_mismatch": 1 - matching.float().mean(),
        }
        return StudentLoss({f"contrast_{settings.kind}": settings.weight * loss}, metrics)

    def _pairs(self, own: Tensor, everyone: Tensor) -> tuple[Tensor, Tensor]:
        """Return positives and negatives [A, B] of anchors [A, 4] among candidates [B, 4].

        Their columns are: number of the image, label, source, whether the teacher agrees with the label.
        """
        number, labels, sources, _ = own.unbind(dim=1)
        numbers, candidate_labels, candidate_sources, _ = everyone.unbind(dim=1)
        itself = number[:, None] == numbers
        if self.settings.contrast.kind == "simclr":
            return view_pairs(number // 2, numbers // 2, itself)  # views of an image stand side by side
        if self.settings.contrast.kind == "supervised":
            return supervised_pairs(labels, candidate_labels, itself)
        return cncl_pairs(labels, sources, candidate_labels, candidate_sources, itself)

    def parts(self) -> dict[str, Any]:
        """Return generator, noise layer, their optimiser and the bank."""
        return super().parts() | {"generator": self.generator, "noise": self.noise, "optimizer": self.optimizer}

    def _build_head(self) -> ProjectionHead | None:
        if self.settings.contrast.kind == "none":
            return None
        student = with_features(self.pair.student, wanted_by=self.settings.TITLE)
        head = ProjectionHead(student.feature_width, self.settings.contrast.width)
        head.to(self.pair.device)
        reset_layers(head, self.random)
        return head

    def _forget_moments(self, module: torch.nn.Module) -> None:
        """Drop the optimiser's moments of re-initialised parameters: they belong to the old weights."""
        for parameter in module.parameters():
            self.optimizer.state.pop(parameter, None)

    def _reset_generator(self) -> None:
        """Start the generator afresh, and its optimiser with it, whose moments belong to the old weights."""
        self.generator.reset_parameters(self.random)
        parameters = [*self.generator.parameters(), *self.noise.parameters()]
        self.optimizer = torch.optim.Adam(
            parameters, lr=self.settings.learning_rate, betas=self.settings.betas, fused=True
        )

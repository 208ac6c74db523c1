"""SpaceshipNet: images are decoded from mixed features of earlier ones, and the student looks where the teacher does.

Source: Yu et al., Data-Free Knowledge Distillation via Feature Exchange and Activation Region Constraint, CVPR 2023,
and its public code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any

import torch
from torch import Tensor

from dfkd.domain import Domain
from dfkd.generators import build_generator
from dfkd.losses.activation_region import activation_region_loss, to_one_size
from dfkd.losses.inversion import BatchNormStatistics, has_batch_norm, one_hot_loss
from dfkd.settings.synthesis import SpaceshipNetSettings
from dfkd.synthesis.activation_maps import ActivationMaps
from dfkd.synthesis.banked import Banked, BestBatch, descend
from dfkd.synthesis.class_draw import draw_labels, resolve_prior
from dfkd.synthesis.feature_bank import FeatureBank
from dfkd.synthesis.protocol import Gather, StudentLoss, StudentOutput, SyntheticBatch
from dfkd.teacher_student import TeacherStudent


class SpaceshipNet(Banked):
    """SpaceshipNet as a ``Synthesizer``; arguments as for ``Banked``.

    Deviations: feature maps are kept in 16 bits on the training device, where the public code has 32 on disk; a batch
    is drawn with replacement; generator and student have this platform's initialisation; networks are hooked at the
    last map of each resolution, which for ResNets is the end of each stage, as there, and for Wide ResNets and VGG a
    BatchNorm, an operation before or after it; Grad-CAMs are paired by size, not by order, and of two networks whose
    last maps differ in size the finer class activation maps are averaged to the places of the others.

    Raises:
        ValueError: if BatchNorm statistics are to be matched and the teacher has none; if mSARC is wanted of a network
            without class activation maps (see ``ActivationMaps``), or Grad-CAMs of two that have no map of one size.
    """

    def __init__(
        self, settings: SpaceshipNetSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator
    ) -> None:
        if settings.weights.batch_norm and not has_batch_norm(pair.teacher):
            raise ValueError(
                "spaceshipnet: its generator matches the statistics that BatchNorm layers remember, and this teacher "
                "has none. With synthesis.weights.batch_norm 0 nothing but labels would lead it."
            )
        super().__init__(settings, pair, domain, generator)
        self.settings = settings
        self.class_prior = resolve_prior("uniform", teacher=pair.teacher, domain=domain, device=pair.device)
        self.generator = build_generator(
            settings.generator, latent_width=settings.latent_width, image_shape=domain.image_shape
        ).to(pair.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.generator.reset_parameters(generator)
        self.feature_bank = FeatureBank(capacity=settings.bank_capacity, device=pair.device)
        self._coin = Random(0)  # decides what the host must know; seeded anew in every epoch
        self._maps = self._build_maps() if settings.weights.class_maps or settings.weights.grad_cams else None

    def start_epoch(self, epoch: int) -> None:
        """Seed the host's decisions from the one source of randomness: once an epoch, as it stops the pipeline."""
        seed = torch.randint(2**62, (1,), generator=self.random, device=self.pair.device).tolist()
        self._coin = Random(seed[0])

    def round(self, statistics: BatchNormStatistics, *, adversarial: bool) -> dict[str, Tensor]:
        """Train the generator on one draw of latents; the features of its best batch go to the bank."""
        settings, device = self.settings, self.pair.device
        labels = draw_labels(self.class_prior, settings.batch_size, self.random)  # [B]
        latents = torch.randn(settings.batch_size, settings.latent_width, generator=self.random, device=device)
        optimizer = torch.optim.Adam(
            self.generator.parameters(), lr=settings.learning_rate, betas=settings.betas, fused=True
        )
        best = [BestBatch(device) for _ in range(1 + len(settings.stages))]  # images, then features of each stage
        terms: dict[str, Tensor] = {}
        for _ in range(settings.generator_steps):
            features = self.generator.stages(latents)
            images = self.generator.finish(features[-1], len(features) - 1)  # [B, C, H, W]
            loss, terms = self._loss(images, labels, statistics)
            for batch, offered in zip(best, [images, *(features[stage] for stage in settings.stages)], strict=True):
                batch.offer(offered, loss)
            descend(optimizer, loss)
        best_images, *best_features = (batch.images for batch in best)
        assert best_images is not None
        self.bank.add(best_images, labels, torch.zeros_like(labels))  # to look at; the student learns from features
        self.feature_bank.add([features for features in best_features if features is not None])
        return terms | {"generator_loss": best[0].loss}

    def _loss(
        self, images: Tensor, labels: Tensor, statistics: BatchNormStatistics
    ) -> tuple[Tensor, dict[str, Tensor]]:
        weights = self.settings.weights
        teacher_logits = self.pair.teacher(self.domain.normalise(self.augment(images)))
        one_hot, batch_norm = one_hot_loss(teacher_logits, labels), statistics.loss()
        hits = (teacher_logits.argmax(dim=1) == labels).float().mean()
        terms = {"one_hot": one_hot.detach(), "batch_norm": batch_norm.detach(), "label_match": hits}
        return weights.one_hot * one_hot + weights.batch_norm * batch_norm, terms

    def sample(self, batch_size: int) -> SyntheticBatch:
        """Decode features of one random stage with the generator as it stands, mostly after exchanging channels."""
        return self._coin.choice(self.ways_to_sample(batch_size))()

    def ways_to_sample(self, batch_size: int) -> list[Callable[[], SyntheticBatch]]:
        """Return what ``sample`` chooses from, each as likely: one way a stage, of different cost."""
        return [partial(self._decode, index, batch_size) for index in range(len(self.settings.stages))]

    @torch.no_grad()
    def _decode(self, index: int, batch_size: int) -> SyntheticBatch:
        features = self.feature_bank.sample(index, batch_size, generator=self.random)  # [B, C, h, w]
        if self._coin.random() < self.settings.exchange_probability:
            features = exchange_channels(features, self.random)
        self.generator.eval()
        images = self.generator.finish(features, self.settings.stages[index])
        self.generator.train()
        return SyntheticBatch(images=images)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Hook both networks, unless nothing is asked of their maps."""
        if self._maps is None:
            yield
            return
        teacher, student = self._maps
        with teacher, student:
            yield

    def student_loss(
        self, batch: SyntheticBatch, teacher_logits: Tensor, output: StudentOutput, gather: Gather
    ) -> StudentLoss:
        """mSARC: class activation maps, and Grad-CAMs of the teacher's class at every resolution that both have."""
        if self._maps is None:
            return StudentLoss({}, {})
        weights = self.settings.weights
        teacher, student = self._maps
        terms: dict[str, Tensor] = {}
        if weights.class_maps:
            learnt, wanted_map = to_one_size(student.class_maps(), teacher.class_maps().detach())
            terms["class_maps"] = weights.class_maps * activation_region_loss([learnt], [wanted_map])
        if weights.grad_cams:
            classes = teacher_logits.argmax(dim=1)
            sizes = tuple(size for size in teacher.sizes if size in student.sizes)
            wanted = [cam.detach() for cam in teacher.grad_cams(teacher_logits, classes, sizes)]
            distance = activation_region_loss(student.grad_cams(output.logits, classes, sizes), wanted)
            terms["grad_cams"] = weights.grad_cams * distance
        return StudentLoss(terms, {})

    def parts(self) -> dict[str, Any]:
        """Return generator and both banks. The optimiser is new in every round."""
        return super().parts() | {"generator": self.generator, "feature_bank": self.feature_bank}

    def _build_maps(self) -> tuple[ActivationMaps, ActivationMaps]:
        shape = self.domain.image_shape
        teacher = ActivationMaps(self.pair.teacher, shape, role="teacher", starts_graph=True)
        student = ActivationMaps(self.pair.student, shape, role="student")
        if self.settings.weights.grad_cams and not set(teacher.sizes) & set(student.sizes):
            raise ValueError(
                "spaceshipnet: mSARC compares feature maps of one size, and teacher and student have none in common. "
                "Take another student, or set synthesis.weights.grad_cams to 0."
            )
        return teacher, student


def exchange_channels(features: Tensor, generator: torch.Generator) -> Tensor:
    """Replace half of every image's channels, drawn for each, by those of its partner: the i-th from the end.

    Args:
        features: [B, C, h, w].
        generator: source of randomness, on the device of ``features``.

    Source: Yu et al., SpaceshipNet, CVPR 2023, channel-wise feature exchange, as in the public code.
    """
    batch, channels = features.shape[:2]
    drawn = torch.rand(batch, channels, generator=generator, device=features.device)
    kept = drawn.argsort(dim=1).argsort(dim=1) < channels // 2  # [B, C]
    return torch.where(kept[:, :, None, None], features, features.flip(0))

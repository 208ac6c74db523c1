"""DeepInversion and Adaptive DeepInversion: the pixels of a batch are optimised until the teacher takes it for its own.

Source: Yin et al., Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion, CVPR 2020, arXiv 1912.08795,
and ``cifar10/`` of its public code. Only the images' half was released: the student's is this platform's KD.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dfkd.domain import Domain, per_channel
from dfkd.losses.image_prior import total_variation, total_variation_l1
from dfkd.losses.inversion import BatchNormStatistics, has_batch_norm, one_hot_loss
from dfkd.losses.jensen_shannon import jensen_shannon
from dfkd.settings.synthesis import DeepInversionSettings
from dfkd.synthesis.banked import Banked, BestBatch, descend
from dfkd.synthesis.class_draw import draw_labels, resolve_prior
from dfkd.teacher_student import TeacherStudent


class DeepInversion(Banked):
    """DeepInversion as a ``Synthesizer``; arguments as for ``Banked``.

    Deviations: pixels are cut to what images in [0, 1] are after normalisation, after every step, as the authors' code
    for ImageNet and CMI's re-implementation do; the code for CIFAR leaves them free, and a bank of images cannot. Of a
    batch the images of the lowest loss are kept; the code for CIFAR means to, and keeps the last.

    Raises:
        ValueError: if BatchNorm statistics are to be matched and the teacher has none.
    """

    def __init__(
        self, settings: DeepInversionSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator
    ) -> None:
        if settings.weights.batch_norm and not has_batch_norm(pair.teacher):
            raise ValueError(
                "deep_inversion matches the statistics that BatchNorm layers remember, and this teacher has none. "
                "With synthesis.weights.batch_norm 0 it is DeepDream, whose images teach a student little."
            )
        super().__init__(settings, pair, domain, generator)
        self.settings = settings
        device = pair.device
        self.class_prior = resolve_prior("uniform", teacher=pair.teacher, domain=domain, device=device)
        self._mean, self._std = (per_channel(values, device, torch.float32) for values in (domain.mean, domain.std))
        self._lowest, self._highest = -self._mean / self._std, (1 - self._mean) / self._std  # of a pixel, [C, 1, 1]

    def round(self, statistics: BatchNormStatistics, *, adversarial: bool) -> dict[str, Tensor]:
        """Optimise one batch from noise; it goes to the bank."""
        settings, domain = self.settings, self.domain
        labels = draw_labels(self.class_prior, settings.batch_size, self.random)  # [B]
        shape = (settings.batch_size, *domain.image_shape)
        pixels = torch.randn(shape, generator=self.random, device=labels.device).requires_grad_()  # normalised
        optimizer = torch.optim.Adam([pixels], lr=settings.learning_rate, betas=settings.betas, fused=True)
        best = BestBatch(labels.device)
        terms: dict[str, Tensor] = {}
        for _ in range(settings.image_steps):
            loss, terms = self._loss(self._move(pixels), labels, statistics, adaptive=adversarial)
            best.offer(pixels.detach().clone(), loss)  # a copy: the next step moves the pixels in place
            descend(optimizer, loss)
            with torch.no_grad():
                pixels.clamp_(self._lowest, self._highest)
        assert best.images is not None
        images = (best.images * self._std + self._mean).clamp_(0, 1)
        self.bank.add(images, labels, torch.zeros_like(labels))
        return terms | {"image_loss": best.loss}

    def _loss(
        self, images: Tensor, labels: Tensor, statistics: BatchNormStatistics, *, adaptive: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Weigh ``CE + R_TV + R_l2 + R_feature + R_compete`` of normalised images; return it and its terms."""
        weights = self.settings.weights
        teacher_logits = self.pair.teacher(images)
        one_hot = one_hot_loss(teacher_logits, labels)
        batch_norm = statistics.loss()
        loss = (
            weights.one_hot * one_hot
            + weights.total_variation * total_variation(images)
            + weights.total_variation_l1 * total_variation_l1(images)
            + weights.l2 * torch.linalg.vector_norm(images)
            + weights.batch_norm * batch_norm
        )
        hits = (teacher_logits.argmax(dim=1) == labels).float().mean()
        terms = {"one_hot": one_hot.detach(), "batch_norm": batch_norm.detach(), "label_match": hits}
        if adaptive and weights.competition:
            student_logits = self.pair.student(images)
            compete = 1 - jensen_shannon(student_logits, teacher_logits, temperature=self.settings.temperature)
            loss = loss + weights.competition * compete
            terms["competition"] = compete.detach()
        return loss, terms

    def _move(self, pixels: Tensor) -> Tensor:
        """Roll the batch [B, C, H, W] by one random offset, and mirror it or not, as one."""
        jitter, device = self.settings.jitter, pixels.device
        rolled = torch.randint(-jitter, jitter + 1, (2, 1), generator=self.random, device=device)
        rows = (torch.arange(self.domain.height, device=device) - rolled[0]) % self.domain.height  # [H]
        columns = (torch.arange(self.domain.width, device=device) - rolled[1]) % self.domain.width  # [W]
        if self.settings.horizontal_flip:
            mirrored = torch.rand(1, generator=self.random, device=device) < 0.5
            columns = torch.where(mirrored, columns.flip(0), columns)
        return pixels.index_select(2, rows).index_select(3, columns)

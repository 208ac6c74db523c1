"""Losses that make images look, to the teacher, like the data it was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dfkd.losses.statistics_memory import StatisticsMemory

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def has_batch_norm(network: nn.Module) -> bool:
    """Whether a network has a BatchNorm layer that remembers statistics."""
    return any(isinstance(module, BATCH_NORMS) and module.track_running_stats for module in network.modules())


def one_hot_loss(teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the teacher's outputs [B, K] with the labels [B] that were asked for.

    Source: Chen et al., Data-Free Learning of Student Networks (DAFL), ICCV 2019, equation 3, with given labels in
    place of the teacher's own decision.
    """
    return F.cross_entropy(teacher_logits, labels)


class ChannelStatistics(torch.autograd.Function):
    """Mean [C] and biased variance [C] over all dimensions but the second, as ``torch.var_mean`` gives them.

    A synthesis step needs them at every BatchNorm layer of the teacher. On a CPU, ``torch.var_mean`` and its gradient
    take about ten times as long as these two passes forward and one backward.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of inputs [B, C, ...]."""
        rows = inputs.movedim(1, -1).flatten(0, -2)  # [B H W, C]: a view of channels-last images
        mean = rows.mean(dim=0)
        variance = (rows - mean).square_().mean(dim=0)
        ctx.save_for_backward(rows, mean)
        ctx.shape = inputs.shape
        return mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_mean: Tensor, of_variance: Tensor) -> Tensor:
        """Return (g_mean + 2 g_var (x - mean)) / n."""
        rows, mean = ctx.saved_tensors
        slope = of_variance * (2 / len(rows))
        gradient = torch.addcmul(of_mean / len(rows) - slope * mean, rows, slope)
        batch, channels, *size = ctx.shape
        return gradient.view(batch, *size, channels).movedim(-1, 1)


def statistics_distance(inputs: Tensor, running_mean: Tensor, running_var: Tensor) -> Tensor:
    """Distance of a batch's channel statistics from those that a BatchNorm layer remembers.

    ``||mu - mu_BN||_2 + ||var - var_BN||_2``, unsquared, over channels.

    Args:
        inputs: [B, C, H, W] or [B, C], what enters the layer.
        running_mean: [C].
        running_var: [C].

    Returns:
        Scalar, at least 0. Its gradient is 0 where statistics match.
    """
    mean, variance = ChannelStatistics.apply(inputs)
    return _distance(mean, variance, running_mean, running_var)


def _distance(mean: Tensor, variance: Tensor, running_mean: Tensor, running_var: Tensor) -> Tensor:
    of_mean: Tensor = torch.linalg.vector_norm(mean - running_mean)
    of_variance: Tensor = torch.linalg.vector_norm(variance - running_var)
    return of_mean + of_variance


class BatchNormStatistics:
    """Collects the statistics distance of every BatchNorm layer during one forward pass of the teacher."""

    def __init__(self, device: torch.device, memory: StatisticsMemory | None = None) -> None:
        self._device, self._memory = device, memory
        self._distances: list[Tensor] = []
        self._batch: list[tuple[Tensor, Tensor]] = []  # what a memory will want of the running pass
        self._last_batch: list[tuple[Tensor, Tensor]] = []  # and of the one whose loss was asked for last

    def collect(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Forward pre-hook: keep the distance of what enters ``module``."""
        running_mean, running_var = module.running_mean, module.running_var
        assert isinstance(running_mean, Tensor) and isinstance(running_var, Tensor)
        mean, variance = ChannelStatistics.apply(inputs[0])
        if self._memory is not None:
            self._batch.append((mean.detach(), variance.detach()))
            mean, variance = self._memory.blend(len(self._distances), mean, variance)
        self.keep(_distance(mean, variance, running_mean, running_var))

    def keep(self, distance: Tensor) -> None:
        """Add one layer's distance to the sum."""
        self._distances.append(distance)

    def loss(self) -> Tensor:
        """Return the sum over layers since the last call, and forget it; 0 for a teacher without BatchNorm.

        Source: Yin et al., Dreaming to Distill (DeepInversion), CVPR 2020, equation 4, unsquared as in its public code.
        """
        distances, self._distances = self._distances, []
        self._last_batch, self._batch = self._batch, []
        return torch.stack(distances).sum() if distances else torch.zeros((), device=self._device)

    def forget(self) -> None:
        """Drop what was collected since the last loss: a pass of the teacher that nobody matches."""
        self._distances, self._batch = [], []

    def remember(self) -> None:
        """Count the batch whose loss was asked for last into the memory; without one, do nothing."""
        if self._memory is not None:
            self._memory.add(self._last_batch)


@contextmanager
def batch_norm_statistics(teacher: nn.Module, memory: StatisticsMemory | None = None) -> Iterator[BatchNormStatistics]:
    """Hook the teacher's BatchNorm layers; the hooks are gone when the block ends, however it ends.

    Args:
        teacher: whose layers.
        memory: of former batches, if they count.
    """
    statistics = BatchNormStatistics(next(teacher.parameters()).device, memory)
    layers = [module for module in teacher.modules() if isinstance(module, BATCH_NORMS) and module.track_running_stats]
    handles = [layer.register_forward_pre_hook(statistics.collect) for layer in layers]
    try:
        yield statistics
    finally:
        for handle in handles:
            handle.remove()

"""Losses that make images look, to the teacher, like the data it was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def one_hot_loss(teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the teacher's outputs [B, K] with the labels [B] that were asked for.

    Source: Chen et al., Data-Free Learning of Student Networks (DAFL), ICCV 2019, equation 3, with given labels in
    place of the teacher's own decision.
    """
    return F.cross_entropy(teacher_logits, labels)


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
    over = [dim for dim in range(inputs.dim()) if dim != 1]
    variance, mean = torch.var_mean(inputs, dim=over, correction=0)
    of_mean: Tensor = torch.linalg.vector_norm(mean - running_mean)
    of_variance: Tensor = torch.linalg.vector_norm(variance - running_var)
    return of_mean + of_variance


class BatchNormStatistics:
    """Collects the statistics distance of every BatchNorm layer during one forward pass of the teacher."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._distances: list[Tensor] = []

    def collect(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Forward pre-hook: keep the distance of what enters ``module``."""
        mean, variance = module.running_mean, module.running_var
        assert isinstance(mean, Tensor) and isinstance(variance, Tensor)
        self._distances.append(statistics_distance(inputs[0], mean, variance))

    def loss(self) -> Tensor:
        """Return the sum over layers since the last call, and forget it; 0 for a teacher without BatchNorm.

        Source: Yin et al., Dreaming to Distill (DeepInversion), CVPR 2020, equation 4, unsquared as in its public code.
        """
        distances, self._distances = self._distances, []
        return torch.stack(distances).sum() if distances else torch.zeros((), device=self._device)


@contextmanager
def batch_norm_statistics(teacher: nn.Module) -> Iterator[BatchNormStatistics]:
    """Hook the teacher's BatchNorm layers; the hooks are gone when the block ends, however it ends."""
    statistics = BatchNormStatistics(next(teacher.parameters()).device)
    layers = [module for module in teacher.modules() if isinstance(module, BATCH_NORMS) and module.track_running_stats]
    handles = [layer.register_forward_pre_hook(statistics.collect) for layer in layers]
    try:
        yield statistics
    finally:
        for handle in handles:
            handle.remove()

"""Channel statistics of the batches so far, for a BatchNorm-statistics loss that looks beyond one batch."""

from __future__ import annotations

import torch
from torch import Tensor


class StatisticsMemory:
    """Moving averages, layer by layer, of the channel statistics of the batches so far.

    With one, a layer compares ``m * average + (1 - m) * batch`` with what it remembers of the real data: all batches
    together shall match and a single one may differ. The gradient is ``1 - m`` times that of a batch alone, so a weight
    that was tuned with ``m = 0.9`` is worth a tenth of the same weight without a memory.

    Source: Fang et al., Up to 100x Faster Data-free Knowledge Distillation (FastDFKD), AAAI 2022, whose public code and
    NAYER's use m = 0.9.

    Args:
        momentum: m, in [0, 1).
        device: where the teacher is.
    """

    def __init__(self, momentum: float, device: torch.device) -> None:
        self.momentum, self.device = momentum, device
        self._averages: list[tuple[Tensor, Tensor]] = []  # mean [C] and variance [C] of every layer

    def blend(self, layer: int, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the statistics [C] of a batch mixed with the averages; as they are before the first batch."""
        if not self._averages:
            return mean, variance
        old_mean, old_variance = self._averages[layer]
        share = 1 - self.momentum
        return share * mean + self.momentum * old_mean, share * variance + self.momentum * old_variance

    def add(self, batch: list[tuple[Tensor, Tensor]]) -> None:
        """Count a batch's statistics in."""
        self._averages = [self.blend(layer, *statistics) for layer, statistics in enumerate(batch)]

    def state_dict(self) -> dict[str, list[tuple[Tensor, Tensor]]]:
        """Return the averages."""
        return {"averages": list(self._averages)}

    def load_state_dict(self, state: dict[str, list[tuple[Tensor, Tensor]]]) -> None:
        """Restore what ``state_dict`` gave."""
        self._averages = [(mean.to(self.device), variance.to(self.device)) for mean, variance in state["averages"]]

"""The session of a single worker inside the calling process: no process group, no start-up time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.worker import Report
from dfkd.synthesis.protocol import Gather


class LocalSession:
    """A ``Session`` of one worker.

    Args:
        device: where to train.
        on_report: hears every report.
        store: where checkpoints go; None keeps none.
    """

    rank = 0
    world_size = 1
    unheard = 1  # the interruption may come between checkpoint and report
    gather: Gather | None = None

    def __init__(
        self, device: torch.device, on_report: Callable[[Report], None], store: CheckpointStore | None = None
    ) -> None:
        self.device, self._on_report, self._store = device, on_report, store

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module as it is."""
        return module

    def average(self, module: nn.Module, metrics: dict[str, float]) -> dict[str, float]:
        """Return the metrics as they are."""
        return metrics

    def collect(self, numbers: dict[str, float]) -> dict[str, float]:
        """Return the numbers as they are."""
        return numbers

    def restore(self, warn: Callable[[str], None]) -> dict[str, Any] | None:
        """Return the newest checkpoint."""
        return None if self._store is None else self._store.newest(rank=0, world_size=1, warn=warn)

    def save(self, state: dict[str, Any], *, epoch: int) -> None:
        """Write a checkpoint."""
        if self._store is not None:
            digest = self._store.write(state, epoch=epoch, rank=0)
            self._store.commit(epoch=epoch, digests=[digest])

    def report(self, metrics: Report) -> None:
        """Pass the metrics on."""
        self._on_report(metrics)

    def is_leaving(self) -> bool:
        """Nobody tells a single worker."""
        return False

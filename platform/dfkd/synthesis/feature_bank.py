"""``FeatureBank``: the bounded store of a generator's feature maps at several stages, on the training device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class FeatureBank:
    """A ring of ``capacity`` images' feature maps, in 16 bits: the oldest make room. It grows by doubling."""

    def __init__(self, *, capacity: int, device: torch.device) -> None:
        self._capacity, self._device = capacity, device
        self._maps: list[Tensor] = []  # [size, C, h, w] of each stage
        self._num_added = 0  # ever; the write position is this modulo the capacity

    def __len__(self) -> int:
        return min(self._num_added, self._capacity)

    def add(self, maps: Sequence[Tensor]) -> None:
        """Store the maps of B images: [B, C, h, w] of every stage, in the same order always."""
        batch = len(maps[0])
        if batch > self._capacity:
            raise ValueError(f"bank_capacity: expected at least one batch ({batch} images), got {self._capacity}.")
        if not self._maps:
            self._maps = [one.new_empty((0, *one.shape[1:]), dtype=torch.float16) for one in maps]
        self._reserve(min(self._num_added + batch, self._capacity))
        position = torch.arange(self._num_added, self._num_added + batch, device=self._device) % self._capacity
        for kept, new in zip(self._maps, maps, strict=True):
            kept[position] = new.detach().to(kept.dtype)
        self._num_added += batch

    def sample(self, index: int, batch_size: int, *, generator: torch.Generator) -> Tensor:
        """Draw maps [B, C, h, w] of the stage with this index, uniformly, with replacement. It must not be empty."""
        rows = torch.randint(len(self), (batch_size,), generator=generator, device=self._device)
        return self._maps[index][rows].float()

    def _reserve(self, rows: int) -> None:
        size = len(self._maps[0])
        if rows <= size:
            return
        grown = min(max(rows, 2 * size), self._capacity)
        for index, old in enumerate(self._maps):
            new = old.new_zeros((grown, *old.shape[1:]))
            new[:size] = old
            self._maps[index] = new

    def state_dict(self) -> dict[str, Any]:
        """Return the filled part and the write position."""
        return {"maps": [one[: len(self)].clone() for one in self._maps], "num_added": self._num_added}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self._maps = [one.to(self._device).clone() for one in state["maps"]]
        self._num_added = int(state["num_added"])

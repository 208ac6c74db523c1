"""``LayerRandom``: what layers such as dropout draw from, as part of a run's state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class LayerRandom:
    """Torch's own generators of the CPU and a device, kept apart for one run.

    Layers take no generator: they draw from the process's, which no run owns. So a run swaps its own state in while its
    networks work; nobody else's numbers change, and a resumed run draws what it would have drawn.

    Args:
        seed: of the first state.
        device: of the networks.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=self._devices):
            torch.manual_seed(seed)
            self._states = self._read()

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Have layers draw from this run's state."""
        with torch.random.fork_rng(devices=self._devices):
            self._write(self._states)
            try:
                yield
            finally:
                self._states = self._read()

    def get_state(self) -> list[Tensor]:
        """Return the state of each generator, uint8 on the CPU."""
        return list(self._states)

    def set_state(self, states: list[Tensor]) -> None:
        """Restore what ``get_state`` gave, on a device of the same kind."""
        assert len(states) == len(self._states), "a run goes on where it began: on the CPU, or on a GPU"
        self._states = [state.cpu() for state in states]

    def _read(self) -> list[Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in self._devices)]

    def _write(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        for device, state in zip(self._devices, states[1:], strict=True):
            torch.cuda.set_rng_state(state, device)

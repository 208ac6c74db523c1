"""``Stopwatch``: how long a device is busy with the named parts of an epoch, without ever waiting for it in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

Mark = float | torch.Event  # a moment: of the clock, or in an accelerator's queue


class Stopwatch:
    """Sums seconds by part. Of parts within parts, each second counts for the innermost.

    On an accelerator the moments are its own events, which are read once, when somebody asks for the sums.

    Args:
        device: where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._running: list[str] = []  # parts, the innermost last
        self._spans: list[tuple[str, Mark, Mark]] = []
        self._since: Mark = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time of the block to ``name``."""
        self._switch()
        self._running.append(name)
        try:
            yield
        finally:
            self._switch()
            self._running.pop()

    def read(self) -> dict[str, float]:
        """Return seconds by part since the last call, and start anew. Waits until the device has done the work."""
        seconds: dict[str, float] = {}
        for name, began, ended in self._spans:
            seconds[name] = seconds.get(name, 0.0) + _seconds_between(began, ended)
        self._spans = []
        return seconds

    def _switch(self) -> None:
        """End the span of the innermost running part at this moment, and begin another."""
        now: Mark
        if self._device.type == "cpu":
            now = time.perf_counter()
        else:
            now = torch.Event(self._device, enable_timing=True)
            now.record()
        if self._running:
            self._spans.append((self._running[-1], self._since, now))
        self._since = now


def _seconds_between(began: Mark, ended: Mark) -> float:
    if isinstance(began, torch.Event) and isinstance(ended, torch.Event):
        ended.synchronize()
        return began.elapsed_time(ended) / 1000
    assert isinstance(began, float) and isinstance(ended, float)
    return ended - began

"""``Usage``: what a worker's process takes of its machine, for MLflow's page of system metrics."""

from __future__ import annotations

import psutil
import torch

USAGE = "system/"  # how these metrics begin: MLflow (3.17) shows such on a page of their own
_MEGABYTE = 1e6


class Usage:
    """Watches this process from now on.

    Args:
        device: where it trains.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._process = device, psutil.Process()
        self._process.cpu_percent()  # the first call begins the time over which the next one is taken

    def take(self) -> dict[str, float]:
        """Return what was used since the last call.

        Returns:
            ``cpu_utilization_percentage`` (100 for one busy core), ``memory_megabytes`` (of the process, now) and, on
            CUDA, ``gpu_memory_megabytes`` (torch's peak so far).
        """
        used = {
            "cpu_utilization_percentage": self._process.cpu_percent(),
            "memory_megabytes": self._process.memory_info().rss / _MEGABYTE,
        }
        if self._device.type == "cuda":
            used["gpu_memory_megabytes"] = torch.cuda.max_memory_allocated(self._device) / _MEGABYTE
        return used

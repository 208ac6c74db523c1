"""How long a network takes for an answer."""

from __future__ import annotations

import statistics
import time

import torch
from torch import Tensor, nn

WARM_UP, REPEATS = 5, 30


@torch.inference_mode()
def milliseconds(network: nn.Module, images: Tensor) -> float:
    """Return the median time of an answer to images [B, C, H, W], on this machine, after a warm-up."""
    times = []
    for _ in range(WARM_UP + REPEATS):
        began = time.perf_counter()
        network(images)
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times[WARM_UP:])

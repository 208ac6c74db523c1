"""What a network costs to use: parameters, operations, time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dfkd.tasks.protocol import evaluation_mode

WARM_UPS, REPEATS = 5, 30
MIN_SECONDS = 0.002  # of one measurement: below, a clock says little


def count_flops(network: nn.Module, image_shape: tuple[int, int, int]) -> float:
    """Return the floating-point operations of one image, a multiplication and an addition counted as two.

    Convolutions and matrix products count, as torch's counter has them; element-wise layers do not.
    """
    counter = FlopCounterMode(display=False)
    with evaluation_mode(network), torch.no_grad(), counter:
        network(_blank(network, 1, image_shape))
    return float(counter.get_total_flops())


def latency_milliseconds(network: nn.Module, image_shape: tuple[int, int, int]) -> float:
    """Return ``answer_milliseconds`` of one image alone, on the network's device."""
    with evaluation_mode(network):
        return answer_milliseconds(network, _blank(network, 1, image_shape))


@torch.inference_mode()
def answer_milliseconds(network: Callable[[Tensor], Tensor], images: Tensor) -> float:
    """Return the milliseconds that a network takes for images [B, C, H, W]: the median of many measurements.

    It says something of this device, and is noisy where others use it too.
    """

    def seconds(passes: int) -> float:
        _finish(images)
        began = time.perf_counter()
        for _ in range(passes):
            network(images)
        _finish(images)
        return time.perf_counter() - began

    passes = max(1, round(MIN_SECONDS / max(seconds(WARM_UPS) / WARM_UPS, 1e-9)))
    return 1000 * statistics.median(seconds(passes) / passes for _ in range(REPEATS))


def _blank(network: nn.Module, batch: int, image_shape: tuple[int, int, int]) -> Tensor:
    parameter = next(network.parameters())
    return torch.zeros(batch, *image_shape, device=parameter.device, dtype=parameter.dtype)


def _finish(images: Tensor) -> None:
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)

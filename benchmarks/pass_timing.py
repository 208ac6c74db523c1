"""How long a pass takes on this device, each way that torch can run it, and what the device reaches at best."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

CEILING_SIZE = 2048  # rows of the square matrices whose product is timed
CEILING_BYTES = 2**28  # that are copied


def ways_of(call: Callable[[], Tensor], device: torch.device, *, compiled: bool) -> dict[str, Callable[[], object]]:
    """Return the ways of running a pass, by name."""
    ways: dict[str, Callable[[], object]] = {"eager": call}
    if compiled:
        ways["compiled"] = torch.compile(call)
    if device.type == "cuda":
        ways["graph"] = captured(call)
    return ways


def captured(call: Callable[[], Tensor]) -> Callable[[], None]:
    """Return a pass as a CUDA graph, which launches all of its kernels at once."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def time_calls(call: Callable[[], object], device: torch.device, *, seconds: float) -> tuple[float, float]:
    """Return the median seconds of a call and the half distance of its quartiles as a share of it."""
    for _ in range(3):
        call()
    taken: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(taken) < 5 or time.perf_counter() < deadline:
        began = time.perf_counter()
        call()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        taken.append(time.perf_counter() - began)
    low, median, high = statistics.quantiles(taken, n=4)
    return median, (high - low) / 2 / median


def ceilings(device: torch.device) -> dict[str, float]:
    """Return what this device reaches at best: operations a second of a product, bytes a second of a copy."""
    square = torch.randn(CEILING_SIZE, CEILING_SIZE, device=device)
    product = time_calls(lambda: square @ square, device, seconds=2.0)[0]
    source = torch.empty(CEILING_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = time_calls(lambda: target.copy_(source), device, seconds=2.0)[0]
    return {"flops_per_second": 2 * CEILING_SIZE**3 / product, "bytes_per_second": 2 * CEILING_BYTES / copy}

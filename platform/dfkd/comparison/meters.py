"""What a call of a run costs: multiply-accumulates, or seconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from dfkd.distillation import Distillation
from dfkd.synthesis.protocol import SyntheticBatch

Meter = Callable[[Distillation, Callable[[], object]], float]  # run, what to call -> what the call cost


def count(run: Distillation, call: Callable[[], object]) -> float:
    """Return the multiply-accumulates of one call; a product and its addition are two operations to torch."""
    counter = FlopCounter()  # type: ignore[no-untyped-call]
    with counter:
        call()
    return float(counter.flops / 2)


def seconds(run: Distillation, call: Callable[[], object]) -> float:
    """Return the seconds of one call, to the end of what it started on the run's device, and of nothing before it."""
    _wait(run.pair.device)
    began = time.perf_counter()
    call()
    _wait(run.pair.device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def typical(cost_of: Meter, run: Distillation, call: Callable[[], object], times: int) -> float:
    """Return what a call costs: counts are all alike; of seconds the median, after a call that pays for first times."""
    if cost_of is count:
        return count(run, call)
    cost_of(run, call)
    return statistics.median(cost_of(run, call) for _ in range(times))


@contextmanager
def metered_samples(run: Distillation, cost_of: Meter) -> Iterator[list[float]]:
    """Give the list that what each batch of images costs goes to, for as long as the block lasts."""
    method: Any = run.synthesizer
    draw, drawn = method.sample, []

    def metered(batch_size: int) -> SyntheticBatch:
        batches: list[SyntheticBatch] = []
        drawn.append(cost_of(run, lambda: batches.append(draw(batch_size))))
        return batches[0]

    method.sample = metered
    try:
        yield drawn
    finally:
        del method.sample


class FlopCounter(TorchDispatchMode):
    """Adds up operations by torch's own formulas. A counter within another one's block leaves that its numbers.

    ``FlopCounterMode``, whose formulas they are, also tells modules apart, by hooks that stop ``torch.autograd.grad``
    with respect to a leaf (torch 2.14: "A leaf node was passed to _will_engine_execute_node"; PRE-DFKD needs it).
    """

    flops = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if (formula := flop_registry.get(func.overloadpacket)) is not None:
            self.flops += float(formula(*args, **(kwargs or {}), out_val=result))
        return result

"""What a pass takes, counted and not timed: its floating-point operations, and the bytes that they read and write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dfkd.comparison.meters import FlopCounter


def flops_of(call: Callable[[], object]) -> float:
    """Return the floating-point operations of a call's matrix products and convolutions."""
    counter = FlopCounter()
    with counter:
        call()
    return float(counter.flops)


def bytes_of(call: Callable[[], object]) -> float:
    """Return the bytes that a call's operations read and write, none of them fused."""
    counter = _ByteCounter()
    with counter:
        call()
    return counter.total


class _ByteCounter(TorchDispatchMode):
    """Adds up the bytes of what each operation reads and writes; views cost nothing."""

    total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [leaf for leaf in torch.utils._pytree.tree_leaves((args, kwargs, result))]
            self.total += sum(leaf.nbytes for leaf in tensors if isinstance(leaf, Tensor))
        return result

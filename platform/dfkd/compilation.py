"""A frozen network's pass, compiled."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def compile_frozen(network: nn.Module) -> nn.Module:
    """Return the network with its forward pass compiled by ``torch.compile``, for inputs of the shape that it meets.

    The first pass compiles, which takes many times a pass, less where torch's own cache has it from before. The
    compiled pass rounds differently; a test holds students of both teachers to each other.

    Args:
        network: frozen, in evaluation mode; its weights are shared.

    Raises:
        ValueError: nothing can be compiled here; a CPU needs a C++ compiler, a GPU needs Triton.
    """
    parameter = next(network.parameters())
    try:
        torch.compile(_double, dynamic=False)(torch.ones(2, device=parameter.device))
    except Exception as error:  # torch's reasons have no common class
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"distillation.compile_teacher: torch.compile does not work on this machine's {parameter.device.type} "
            f"({reason}). Install a C++ compiler (CPU) or Triton (GPU), or leave compile_teacher out."
        ) from error
    compiled = torch.compile(network, dynamic=False)
    assert isinstance(compiled, nn.Module)
    return compiled


def _double(values: Tensor) -> Tensor:
    return values * 2

"""How many bytes a network's numbers take."""

from __future__ import annotations

from torch import nn


def num_bytes(network: nn.Module) -> int:
    """Return the bytes of all parameters and buffers of a network, each counted once."""
    tensors = {id(tensor): tensor for tensor in network.state_dict(keep_vars=True).values()}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())

"""BatchNorm folded into the convolution before it: the same answers of a frozen network in less time."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: Largest difference of outputs, as a share of the largest output: float32 rounds differently in other orders.
TOLERANCE = 1e-4
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@torch.no_grad()
def fold_batch_norm(network: nn.Module, image_shape: tuple[int, int, int]) -> nn.Module:
    """Return a copy in which every BatchNorm that takes a convolution's output is part of that convolution.

    Which these are is seen in one pass. The copy's outputs are then held against the network's; if they are others, the
    network itself is returned.

    Args:
        network: frozen, in evaluation mode, with its own running statistics; stays as it is.
        image_shape: (C, H, W) of what it takes.

    Source: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
    CVPR 2018, section 3.2, for the folded weights; here nothing is quantised.
    """
    if not any(isinstance(module, _BATCH_NORMS) for module in network.modules()):
        return network
    parameter = next(network.parameters())
    random = torch.Generator().manual_seed(0)
    images = torch.randn(2, *image_shape, generator=random).to(parameter)
    pairs = _pairs(network, images)
    if not pairs:
        return network
    try:
        folded = copy.deepcopy(network)
    except Exception:  # somebody else's module may hold anything; it need not be copied to be used
        return network
    for convolution, batch_norm in pairs:
        _fold(folded.get_submodule(convolution), folded.get_submodule(batch_norm))
        parent, _, name = batch_norm.rpartition(".")
        setattr(folded.get_submodule(parent), name, nn.Identity())
    expected, outputs = network(images), folded(images)
    return folded if (outputs - expected).abs().max() <= TOLERANCE * expected.abs().max() else network


def _pairs(network: nn.Module, images: Tensor) -> list[tuple[str, str]]:
    """Return the names of convolutions and of the BatchNorm layers that alone take their outputs."""
    made_by: dict[int, str] = {}
    kept: list[Tensor] = []  # so that no two outputs share an identity
    calls: Counter[str] = Counter()
    pairs: list[tuple[str, str, int]] = []
    uses = _Uses()

    def note(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[name] += 1
        if isinstance(module, _CONVOLUTIONS):
            kept.append(output)
            made_by[id(output)] = name
            uses.counts[id(output)] = 0  # those so far were of a tensor that is gone
        elif id(inputs[0]) in made_by and module.track_running_stats:
            pairs.append((made_by[id(inputs[0])], name, id(inputs[0])))

    handles = [
        module.register_forward_hook(lambda module, inputs, output, name=name: note(name, module, inputs, output))
        for name, module in network.named_modules()
        if isinstance(module, (*_CONVOLUTIONS, *_BATCH_NORMS))
    ]
    try:
        with uses:
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    return [
        (convolution, batch_norm)
        for convolution, batch_norm, output in pairs
        if calls[convolution] == calls[batch_norm] == uses.counts[output] == 1
    ]


class _Uses(TorchDispatchMode):
    """Counts how many operations take a tensor, by its identity."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[int] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts.update(id(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        return func(*args, **(kwargs or {}))


def _fold(convolution: Any, batch_norm: Any) -> None:
    """Make the convolution compute what both did, in place; the factors are computed in float64."""
    mean, variance = batch_norm.running_mean.double(), batch_norm.running_var.double()
    scale = torch.rsqrt(variance + batch_norm.eps)
    shift = -mean * scale
    if batch_norm.affine:
        scale = scale * batch_norm.weight.double()
        shift = shift * batch_norm.weight.double() + batch_norm.bias.double()
    weight: Tensor = convolution.weight
    if convolution.bias is not None:
        shift = shift + convolution.bias.double() * scale
    scaled = weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))
    layout = torch.channels_last if weight.dim() == 4 and _is_channels_last(weight) else torch.contiguous_format
    convolution.weight = nn.Parameter(scaled.to(weight.dtype).contiguous(memory_format=layout), requires_grad=False)
    convolution.bias = nn.Parameter(shift.to(weight.dtype), requires_grad=False)


def _is_channels_last(weight: Tensor) -> bool:
    return weight.is_contiguous(memory_format=torch.channels_last)

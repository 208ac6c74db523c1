"""BatchNorm folded into the convolution before it: the same answers of a frozen network in less time."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

#: Largest difference of outputs, as a share of the largest output: float32 rounds differently in other orders.
TOLERANCE = 1e-4
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@torch.no_grad()
def fold_batch_norm(network: nn.Module, image_shape: tuple[int, int, int]) -> nn.Module:
    """Return a copy in which every BatchNorm that takes a convolution's output is part of that convolution.

    Which these are is seen in one pass. The copy's outputs are then held against the network's: a map that is used
    elsewhere besides would tell, and the network itself is returned.

    Args:
        network: frozen, in evaluation mode, with its own running statistics; stays as it is.
        image_shape: (C, H, W) of what it takes.
    """
    parameter = next(network.parameters(), None)
    if parameter is None:
        return network
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
    """Return the names of convolutions and of the BatchNorm layers that take their outputs, each used once."""
    made_by: dict[int, str] = {}
    kept: list[Tensor] = []  # so that no two outputs share an identity
    uses: list[str] = []
    pairs: list[tuple[str, str]] = []

    def note(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        uses.append(name)
        if isinstance(module, _CONVOLUTIONS):
            kept.append(output)
            made_by[id(output)] = name
        elif id(inputs[0]) in made_by and module.track_running_stats:
            pairs.append((made_by[id(inputs[0])], name))

    handles = [
        module.register_forward_hook(lambda module, inputs, output, name=name: note(name, module, inputs, output))
        for name, module in network.named_modules()
        if isinstance(module, (*_CONVOLUTIONS, *_BATCH_NORMS))
    ]
    try:
        network(images)
    finally:
        for handle in handles:
            handle.remove()
    return [pair for pair in pairs if all(uses.count(name) == 1 for name in pair)]


def _fold(convolution: nn.Module, batch_norm: nn.Module) -> None:
    """Make the convolution compute what both did, in place; the factors are computed in float64."""
    mean, variance = batch_norm.running_mean.double(), batch_norm.running_var.double()
    scale = torch.rsqrt(variance + batch_norm.eps)
    shift = -mean * scale
    if batch_norm.affine:
        scale = scale * batch_norm.weight.double()
        shift = shift * batch_norm.weight.double() + batch_norm.bias.double()
    weight = convolution.weight
    if convolution.bias is not None:
        shift = shift + convolution.bias.double() * scale
    scaled = weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))
    layout = torch.channels_last if weight.dim() == 4 and _is_channels_last(weight) else torch.contiguous_format
    convolution.weight = nn.Parameter(scaled.to(weight.dtype).contiguous(memory_format=layout), requires_grad=False)
    convolution.bias = nn.Parameter(shift.to(weight.dtype), requires_grad=False)


def _is_channels_last(weight: Tensor) -> bool:
    return weight.is_contiguous(memory_format=torch.channels_last)

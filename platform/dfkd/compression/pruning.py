"""Magnitude pruning in one shot, with BatchNorm statistics corrected on synthetic images."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from dfkd.compression.size import num_bytes
from dfkd.losses.inversion import BATCH_NORMS

IMAGES_FOR_STATISTICS = 512  # at most: they go through both networks at once
SMALLEST_VARIANCE = 1e-12  # of a channel that is not constant


def prune(network: nn.Module, images: Tensor, *, sparsity: float) -> nn.Module:
    """Return a copy whose smallest weights are zero, over all convolutions and Linear layers together.

    Args:
        network: maps normalised images [B, C, H, W] to logits [B, K]; in evaluation mode, on the device of ``images``.
        images: [N, C, H, W], normalised; BatchNorm statistics are corrected on them. Not used by other networks.
        sparsity: share of these weights that becomes zero, in [0, 1).

    Returns:
        The pruned network, in evaluation mode.

    Raises:
        ValueError: if the network has no such layer.

    Source: Han et al., Learning both Weights and Connections for Efficient Neural Networks, NIPS 2015, without the
    training afterwards, which would need data; and after Li et al., EagleEye, ECCV 2020, new BatchNorm statistics.
    Deviation: those are moved by what pruning changed, and not measured anew. Measured anew on images that are not the
    training images, they are those of these images, which costs more than pruning itself.
    """
    pruned = copy.deepcopy(network).eval()
    pruned.to(memory_format=torch.contiguous_format)  # torch (2.14) views weights flat
    layers = _prunable(pruned)
    torch_prune.global_unstructured(
        [(layer, "weight") for layer in layers], pruning_method=torch_prune.L1Unstructured, amount=sparsity
    )
    for layer in layers:
        torch_prune.remove(layer, "weight")  # keeps the zeros, drops the mask
    correct_batch_norm(pruned, network, images[:IMAGES_FOR_STATISTICS])
    return pruned


@torch.no_grad()
def correct_batch_norm(pruned: nn.Module, network: nn.Module, images: Tensor) -> None:
    """Move the BatchNorm statistics of a pruned network, in place, by what pruning changed on the images [N, C, H, W].

    What enters a layer is taken to be, channel by channel, an affine function of what entered it before pruning:
    ``x' = mean' + r (x - mean)`` with ``r^2 = var' / var``, measured on the images. So the layer remembers from now on
    ``mean' + r (running_mean - mean)`` and ``r^2 running_var``. Layers are corrected in the order of one pass, so that
    each sees inputs that the ones before it corrected. A channel that pruning made constant keeps its constant as mean.
    """
    before: list[tuple[Tensor, Tensor]] = []

    def note(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        before.append(_moments(inputs[0]))

    def correct(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        (mean, variance), (old_mean, old_variance) = _moments(inputs[0]), before.pop(0)
        assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
        assert layer.running_mean is not None and layer.running_var is not None
        squared_ratio = variance / old_variance.clamp_min(SMALLEST_VARIANCE)  # [C]
        squared_ratio[old_variance <= SMALLEST_VARIANCE] = 1.0  # dead on these images before: nothing is known of it
        layer.running_mean.copy_(mean + squared_ratio.sqrt() * (layer.running_mean - old_mean))
        layer.running_var *= squared_ratio

    _pass_with_hooks(network, images, note)
    _pass_with_hooks(pruned, images, correct)


def _moments(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean [C] and biased variance [C] of inputs [B, C, ...]."""
    others = [dimension for dimension in range(inputs.dim()) if dimension != 1]
    variance, mean = torch.var_mean(inputs, dim=others, correction=0)
    return mean, variance


def _pass_with_hooks(network: nn.Module, images: Tensor, hook: Callable[[nn.Module, tuple[Tensor, ...]], None]) -> None:
    layers = [module for module in network.modules() if isinstance(module, BATCH_NORMS) and module.track_running_stats]
    handles = [layer.register_forward_pre_hook(hook) for layer in layers]
    try:
        if layers:
            network(images)
    finally:
        for handle in handles:
            handle.remove()


def pruned_bytes(network: nn.Module) -> int:
    """Return the bytes of a pruned network: its non-zero weights, a bit a weight that says where they are, the rest."""
    weights = [layer.weight for layer in _prunable(network)]
    dense = sum(weight.numel() * weight.element_size() for weight in weights)
    kept = sum(int(weight.count_nonzero()) * weight.element_size() for weight in weights)
    mask = -(-sum(weight.numel() for weight in weights) // 8)  # rounded up
    return num_bytes(network) - dense + kept + mask


def sparsity_for(network: nn.Module, wanted_bytes: int) -> float | None:
    """Return the sparsity at which ``pruned_bytes`` is what is wanted; None if no sparsity gives it."""
    weights = [layer.weight for layer in _prunable(network)]
    count = sum(weight.numel() for weight in weights)
    dense = sum(weight.numel() * weight.element_size() for weight in weights)
    left = wanted_bytes - (num_bytes(network) - dense) - -(-count // 8)
    sparsity = 1 - left / dense
    return sparsity if 0 <= sparsity < 1 else None


def check_prunable(network: nn.Module) -> None:
    """Raise ValueError if a network has no weights that could be pruned."""
    _prunable(network)


def _prunable(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    if not layers:
        raise ValueError(
            "compression: this network has no convolution or Linear layer that could be pruned (an exported graph is "
            "closed). Ask for int8 alone."
        )
    return layers

"""What a network computes on the way: one feature map for every spatial resolution, of any convolutional network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Size = tuple[int, int]


class FeatureMaps:
    """Keeps, at every forward pass of a network, the last feature map [B, D, h, w] of each resolution.

    The layers are found by one pass over a blank image: of all modules with a 4-dimensional output of one resolution,
    those that lie inside the fewest modules of another resolution, and of these the last to end. So a stage's own
    output goes before the first layer of the next stage, which a network with pre-activation still computes at the old
    resolution. Resolutions of 1x1 (pooled features) and of the image itself before any stride are kept alike, so that
    two networks can be compared wherever both have a map of the same size.

    Args:
        network: maps [B, C, H, W] to logits. Hooked until ``close``; its mode and its statistics stay as they are.
        image_shape: (C, H, W).
        hooked: whether to hook it at once; otherwise ``with maps:`` does so for as long as the block lasts.
        starts_graph: whether a map without a graph shall become the leaf of one, so that what a frozen network makes of
            its maps can be differentiated by them.

    Attributes:
        sizes: (h, w) of every map, in the order of the pass.
        latest: the maps of the newest pass, by size, with whatever gradient that pass has. ``forget`` drops them.
    """

    def __init__(
        self,
        network: nn.Module,
        image_shape: tuple[int, int, int],
        *,
        hooked: bool = True,
        starts_graph: bool = False,
    ) -> None:
        self.latest: dict[Size, Tensor] = {}
        self._layers = _last_of_each_resolution(network, image_shape)
        self._starts_graph = starts_graph
        self.sizes = tuple(self._layers)
        self._handles: list[RemovableHandle] = []
        if hooked:
            self.open()

    def open(self) -> None:
        """Hook the layers, again after ``close``."""
        self.close()
        self._handles = [
            module.register_forward_hook(lambda _m, _i, output, size=size: self._keep(size, output))
            for size, module in self._layers.items()
        ]

    def _keep(self, size: Size, output: Tensor) -> Tensor | None:
        if not self._starts_graph or output.requires_grad:
            self.latest[size] = output
            return None
        leaf = output.detach().requires_grad_()
        self.latest[size] = leaf
        return leaf.clone()  # what follows may work in place, which a leaf does not allow

    def forget(self) -> None:
        """Let go of the newest maps, and of the graph they hold."""
        self.latest.clear()

    def close(self) -> None:
        """Remove the hooks, and forget the maps."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.forget()

    def __enter__(self) -> FeatureMaps:
        self.open()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


@contextmanager
def in_evaluation(network: nn.Module) -> Iterator[nn.Module]:
    """Give the network in evaluation mode and without gradients; then restore its mode, layer by layer."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        with torch.no_grad():
            yield network.eval()
    finally:
        for module, training in modes:
            module.training = training


def blank_image(network: nn.Module, image_shape: tuple[int, int, int]) -> Tensor:
    """Return zeros [1, C, H, W] where the network's parameters are."""
    parameter = next(network.parameters())
    return torch.zeros(1, *image_shape, device=parameter.device, dtype=parameter.dtype)


def _last_of_each_resolution(network: nn.Module, image_shape: tuple[int, int, int]) -> dict[Size, nn.Module]:
    sizes = _sizes_of_outputs(network, image_shape)
    chosen: dict[Size, tuple[int, str]] = {}
    for name, size in sizes.items():
        around = [".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 1)]
        foreign = sum(sizes.get(outer, size) != size for outer in around)  # modules of another resolution around it
        if size not in chosen or foreign <= chosen[size][0]:
            chosen[size] = (foreign, name)
    names = {name for _, name in chosen.values()}
    return {size: network.get_submodule(name) for name, size in sizes.items() if name in names}


def _sizes_of_outputs(network: nn.Module, image_shape: tuple[int, int, int]) -> dict[str, Size]:
    """Return (h, w) of every module's 4-dimensional output in one pass, by the module's name, in the order of ends."""
    sizes: dict[str, Size] = {}

    def note(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 4:
            sizes.pop(name, None)  # so that the order is that of the last call
            sizes[name] = (output.shape[2], output.shape[3])

    handles = [
        module.register_forward_hook(lambda _m, _i, output, name=name: note(name, output))
        for name, module in network.named_modules()
        if name
    ]
    try:
        with in_evaluation(network):
            network(blank_image(network, image_shape))
    finally:
        for handle in handles:
            handle.remove()
    return sizes

"""CPNet's generator: the teacher's way backwards, from its deepest feature map to an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from dfkd.feature_maps import blank_image, in_evaluation

LEAST_NODES = 4  # of the public code's table; fewer resolutions than that are joined by the network's first BatchNorm


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """A BatchNorm layer of the teacher, and the (D, h, w) of what enters it."""

    layer: nn.BatchNorm2d
    shape: tuple[int, int, int]


def find_nodes(teacher: nn.Module, image_shape: tuple[int, int, int]) -> list[Node]:
    """Return the layers to which the generator is coupled, deepest first.

    The last BatchNorm layer of every resolution; where that makes fewer than four, the teacher's first one too.

    Source: Chen et al., CPNet, ICCV 2025, whose public code names the layers of four networks in a table. This rule
    gives the same ones for ResNet-34, WRN-40-2 and VGG-11 at 32x32, and serves other networks.

    Raises:
        ValueError: if the teacher has no BatchNorm2d that remembers statistics.
    """
    passed: list[Node] = []

    def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        passed.append(Node(layer=module, shape=tuple(inputs[0].shape[1:])))

    layers = [layer for layer in teacher.modules() if isinstance(layer, nn.BatchNorm2d) and layer.track_running_stats]
    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        with in_evaluation(teacher):
            teacher(blank_image(teacher, image_shape))
    finally:
        for handle in handles:
            handle.remove()
    if not passed:
        raise ValueError(
            "cpnet builds its generator as the inverse of the teacher, from the BatchNorm2d layers that its maps pass, "
            f"and {type(teacher).__name__} has none. No weight can change that: take another teacher or method."
        )
    last = {node.shape[1:]: index for index, node in enumerate(passed)}  # of each (h, w)
    chosen = set(last.values()) | ({0} if len(last) < LEAST_NODES else set())
    return [passed[index] for index in sorted(chosen, reverse=True)]


class CoupledGenerator(nn.Module):
    """Linear -> BN -> (up -> conv -> BN -> LeakyReLU) to the shape of every node in turn -> up -> conv -> sigmoid.

    Source: Chen et al., CPNet, ICCV 2025 (public code). Deviation: each map is brought to the next node's very size, so
    that sizes which are no multiples of each other are served too.

    Args:
        shapes: (D, h, w) of the nodes, deepest first.
        latent_width: Z.
        image_shape: (C, H, W) of the images to make.
    """

    def __init__(
        self, shapes: Sequence[tuple[int, int, int]], *, latent_width: int, image_shape: tuple[int, int, int]
    ) -> None:
        super().__init__()
        self.base = shapes[0]
        self.project = nn.Linear(latent_width, self.base[0] * self.base[1] * self.base[2])
        self.norm = nn.BatchNorm2d(self.base[0])
        self.blocks = nn.ModuleList(
            _block(before, after) for before, after in zip(shapes[:-1], shapes[1:], strict=True)
        )
        channels, height, width = image_shape
        self.to_image = nn.Sequential(
            nn.Upsample(size=(height, width)), nn.Conv2d(shapes[-1][0], channels, 3, padding=1), nn.Sigmoid()
        )

    def forward(self, latents: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Map latents [B, Z] to images [B, C, H, W] in [0, 1] and the map [B, D, h, w] of every node, deepest first."""
        maps = [self.norm(self.project(latents).view(-1, *self.base))]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        images: Tensor = self.to_image(maps[-1])
        return images, maps


def _block(before: tuple[int, int, int], after: tuple[int, int, int]) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample(size=after[1:]),
        nn.Conv2d(before[0], after[0], 3, padding=1, bias=False),
        nn.BatchNorm2d(after[0]),
        nn.LeakyReLU(0.2, inplace=True),
    )

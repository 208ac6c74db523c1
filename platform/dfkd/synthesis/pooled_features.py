"""What a teacher sees of each image at all depths, averaged over pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from dfkd.feature_maps import FeatureMaps

Take = Callable[[], Tensor]


@contextmanager
def pooled_features(
    teacher: nn.Module, image_shape: tuple[int, int, int], layers: Literal["batch_norm", "resolutions"]
) -> Iterator[Take]:
    """Hook the teacher, and give a function that returns the features [B, F] of its newest pass.

    Args:
        teacher: normalised images [B, C, H, W] -> logits.
        image_shape: (C, H, W).
        layers: ``batch_norm`` averages what enters every BatchNorm2d, ``resolutions`` the last map of every size.

    Raises:
        ValueError: if ``batch_norm`` is asked of a teacher without BatchNorm2d.

    Source: Fang et al., Contrastive Model Inversion, IJCAI 2021, public code. Deviation: for a ResNet-34 that code says
    it takes the outputs of its four blocks and takes their inputs; ``resolutions`` are outputs.
    """
    if layers == "resolutions":
        maps = FeatureMaps(teacher, image_shape)
        try:
            yield lambda: torch.cat([found.mean(dim=(2, 3)) for found in maps.latest.values()], dim=1)
        finally:
            maps.close()
        return
    hooked = [module for module in teacher.modules() if isinstance(module, nn.BatchNorm2d)]
    if not hooked:
        raise ValueError(
            "synthesis.contrast.features: 'batch_norm' is asked of a teacher that has no BatchNorm2d layer. "
            "Take 'resolutions', and 0 for synthesis.weights.batch_norm."
        )
    found: dict[int, Tensor] = {}

    def keep(layer: int, inputs: tuple[Tensor, ...]) -> None:
        found[layer] = inputs[0].mean(dim=(2, 3))

    handles = [
        module.register_forward_pre_hook(lambda _module, inputs, layer=layer: keep(layer, inputs))
        for layer, module in enumerate(hooked)
    ]
    try:
        yield lambda: torch.cat([found[layer] for layer in range(len(hooked))], dim=1)
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def pooled_width(
    teacher: nn.Module, image_shape: tuple[int, int, int], layers: Literal["batch_norm", "resolutions"]
) -> int:
    """Return F, the width of ``pooled_features``, by a pass over a blank image."""
    parameter = next(teacher.parameters())
    with pooled_features(teacher, image_shape, layers) as take:
        teacher(torch.zeros(1, *image_shape, device=parameter.device, dtype=parameter.dtype))
        return take().shape[1]

"""Penultimate features of many images, in evaluation mode and without gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dfkd.models.protocol import Backbone
from dfkd.tasks.protocol import evaluation_mode

_IMAGES_AT_A_TIME = 512


def require_backbone(network: nn.Module, what: str) -> Backbone:
    """Return the network as one whose features can be had.

    Args:
        network: any.
        what: it is, for the message: "student", "teacher".

    Raises:
        ValueError: if it is a graph without features, or they have no width.
    """
    if not isinstance(network, Backbone):
        raise ValueError(
            f"{what}: this task needs features, and a {type(network).__name__} gives logits alone. Take a network that "
            "is built by name."
        )
    if network.feature_width < 1:
        raise ValueError(f"{what}: expected features of a width of at least 1, got {network.feature_width}.")
    return network


def predict_features(
    network: nn.Module,
    images: Tensor,
    *,
    normalise: Callable[[Tensor], Tensor],
    device: torch.device | str,
    what: str = "model",
) -> Tensor:
    """Return the penultimate features of a network, which is left in the mode it had.

    Args:
        network: a ``Backbone`` on ``device``.
        images: [N, C, H, W] uint8.
        normalise: maps images in [0, 1] to what the network takes.
        device: where the network is.
        what: the network is, for messages.

    Returns:
        [N, D] float32 on the CPU, without gradient.
    """
    backbone = require_backbone(network, what)
    pieces = []
    with evaluation_mode(network), torch.inference_mode():
        for piece in torch.split(images, _IMAGES_AT_A_TIME):
            features = backbone.forward_features(normalise(piece.to(device).float() / 255))  # [B, D]
            pieces.append(features.float().cpu())
    return torch.cat(pieces)  # outside of inference mode: an ordinary tensor

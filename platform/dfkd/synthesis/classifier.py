"""A network's last layer: the Linear one whose outputs are the logits. Methods that look into it find it here."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dfkd.feature_maps import blank_image, in_evaluation


def find_classifier(network: nn.Module, image_shape: tuple[int, int, int], *, wanted_by: str) -> nn.Linear:
    """Return the Linear layer whose output is the network's.

    Args:
        network: maps normalised images [B, C, H, W] to logits [B, K].
        image_shape: (C, H, W).
        wanted_by: who asks; opens the message.

    Raises:
        ValueError: if no Linear layer gives the logits: an exported graph, a final convolution, a head with more after
            its last Linear layer.
    """
    outputs: list[tuple[nn.Linear, Tensor]] = []

    def note(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        assert isinstance(module, nn.Linear)
        outputs.append((module, output))

    handles = [module.register_forward_hook(note) for module in network.modules() if isinstance(module, nn.Linear)]
    try:
        with in_evaluation(network):
            logits = network(blank_image(network, image_shape))
    finally:
        for handle in handles:
            handle.remove()
    for layer, output in reversed(outputs):
        if torch.equal(output, logits):
            return layer
    raise ValueError(
        f"{wanted_by} reads the weights of the layer that gives the logits, and {type(network).__name__} does not end "
        "in a Linear layer. Take a network that does, or another method."
    )

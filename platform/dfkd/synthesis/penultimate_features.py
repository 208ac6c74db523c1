"""The features that a network's last layer makes its logits of, of any network that ends in a Linear layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class PenultimateFeatures:
    """Keeps what enters a network's last Linear layer, at every forward pass within ``with``.

    Args:
        network: maps [B, C, H, W] to logits [B, K].
        num_classes: K.
        wanted_by: who asks; opens the message.

    Attributes:
        width: D.
        latest: the features [B, D] of the newest pass, with whatever gradient it has.

    Raises:
        ValueError: if the network's last Linear layer does not give K values, or there is none: an exported graph, say.
    """

    def __init__(self, network: nn.Module, *, num_classes: int, wanted_by: str) -> None:
        layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
        if not layers or layers[-1].out_features != num_classes:
            raise ValueError(
                f"{wanted_by} looks at the teacher's penultimate features, and the teacher ({type(network).__name__}) "
                f"does not end in a Linear layer of {num_classes} classes. Take one that does, or do without."
            )
        self._classifier = layers[-1]
        self._handle: RemovableHandle | None = None
        self._latest: Tensor | None = None
        self.width: int = self._classifier.in_features

    @property
    def latest(self) -> Tensor:
        """The features of the newest pass."""
        assert self._latest is not None, "no pass within `with` yet"
        return self._latest

    def _keep(self, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._latest = inputs[0]

    def __enter__(self) -> PenultimateFeatures:
        self._handle = self._classifier.register_forward_pre_hook(self._keep)
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._handle is not None
        self._handle.remove()
        self._latest = None  # and the graph that hangs on it

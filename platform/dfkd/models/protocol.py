"""``Backbone``: what every network of the zoo offers beside ``nn.Module``."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Backbone(Protocol):
    """An image classifier whose penultimate features can be had: ``forward(x) == classify(forward_features(x))``.

    Attributes:
        feature_width: D, the width of the penultimate features.
    """

    feature_width: int

    def __call__(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to logits [B, K]."""
        ...

    def forward_features(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to penultimate features [B, D]."""
        ...

    def classify(self, features: Tensor) -> Tensor:
        """Map penultimate features [B, D] to logits [B, K]."""
        ...


def with_features(student: nn.Module, *, wanted_by: str) -> Backbone:
    """Return the student, known to show its features; raise ValueError, naming who looks at them, if it does not."""
    if not isinstance(student, Backbone):
        raise ValueError(
            f"student: {wanted_by} looks at features, and {type(student).__name__} shows none. Give it "
            "forward_features, classify and feature_width, as dfkd.Backbone says, or take another method."
        )
    return student


class Builder(Protocol):
    """A plain function that builds a network, with its paper's numbers in it."""

    def __call__(self, num_classes: int, in_channels: int = 3) -> nn.Module:
        """Return a freshly initialised network for images [B, in_channels, H, W] and K = num_classes."""
        ...

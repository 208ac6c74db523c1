"""Tiny networks and a tiny domain: 8x8 images of one channel, a few thousand parameters, on the CPU."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dfkd.domain import Domain


class TinyNetwork(nn.Module):
    """Two convolutions and a Linear layer, with or without BatchNorm."""

    def __init__(self, width: int, num_classes: int, batch_norm: bool) -> None:
        super().__init__()
        self.feature_width = width
        layers: list[nn.Module] = []
        for before, stride in ((1, 1), (width, 2)):
            layers.append(nn.Conv2d(before, width, 3, padding=1, stride=stride))
            layers += [nn.BatchNorm2d(width), nn.ReLU()] if batch_norm else [nn.ReLU()]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        features: Tensor = self.features(images)
        return features

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.classifier(features)
        return logits


@pytest.fixture
def tiny_network() -> Callable[..., TinyNetwork]:
    """Make a network whose weights depend on its seed alone."""

    def make(seed: int = 0, *, width: int = 8, num_classes: int = 10, batch_norm: bool = True) -> TinyNetwork:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return TinyNetwork(width, num_classes, batch_norm)

    return make


@pytest.fixture
def tiny_domain() -> Callable[..., Domain]:
    """Make a domain of 8x8 images of one channel."""

    def make(num_classes: int = 10, crop_padding: int = 1) -> Domain:
        return Domain(
            channels=1,
            height=8,
            width=8,
            mean=(0.3,),
            std=(0.25,),
            class_names=tuple(f"class {index}" for index in range(num_classes)),
            label_embeddings=torch.randn(num_classes, 24, generator=torch.Generator().manual_seed(0)),
            crop_padding=crop_padding,
        )

    return make

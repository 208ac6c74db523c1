"""What the examples share: a network of one's own, trained on scikit-learn's digits with plain PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from sklearn.datasets import load_digits
from torch import Tensor, nn

MEAN, STD = (0.3,), (0.38,)  # of pixels in [0, 1]
IMAGE_SHAPE = (1, 8, 8)

_digits = load_digits()
_images = torch.tensor(_digits.images, dtype=torch.float32).unsqueeze(1) / 16  # [N, 1, 8, 8] in [0, 1]
_labels = torch.tensor(_digits.target)
_is_test = torch.arange(len(_labels)) % 5 == 0


def own_network(width: int) -> nn.Sequential:
    """Return a small convolutional network for normalised images [B, 1, 8, 8]: logits [B, 10]."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, padding=1, stride=2, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU(),
        nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, 10),
    )  # fmt: skip


def trained_network() -> nn.Sequential:
    """Return a network of one's own, trained; any that you have takes its place."""
    torch.manual_seed(0)
    network = own_network(32)
    images, labels = _images[~_is_test], _labels[~_is_test]
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(15):
        for rows in torch.randperm(len(labels)).split(64):
            loss = F.cross_entropy(network(normalise(images[rows])), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


def normalise(images: Tensor) -> Tensor:
    """Map images in [0, 1] to what the network takes."""
    return (images - MEAN[0]) / STD[0]


@torch.no_grad()
def accuracy(network: nn.Module) -> float:
    """Return the share of the test images that a network classifies rightly."""
    predicted = network(normalise(_images[_is_test])).argmax(dim=1)
    return float((predicted == _labels[_is_test]).float().mean())

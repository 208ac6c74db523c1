"""The ResNets that were made for CIFAR: three stages of 16, 32 and 64 channels, depth 6n + 2.

Parameter names agree with github.com/akamaster/pytorch_resnet_cifar10, so its published weights load.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.models.layers import conv3x3, global_average, initialise_convolutions


class PaddedShortcut(nn.Module):
    """Option A of the paper: take every second pixel and pad the new channels with zeros. It has no parameters."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.padding = (out_channels - in_channels) // 2  # channels on either side

    def forward(self, maps: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C + 2 * padding, H / 2, W / 2]."""
        return F.pad(maps[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride=stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Identity() if stride == 1 else PaddedShortcut(in_channels, out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C', H / stride, W / stride]."""
        hidden = F.relu(self.bn1(self.conv1(maps)))
        return F.relu(self.bn2(self.conv2(hidden)) + self.shortcut(maps))


class CifarResNet(nn.Module):
    """ResNet of depth 6n + 2 for small images of any size.

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2, with shortcut option A.

    Args:
        depth: 6n + 2, the number of layers with weights.
        num_classes: K.
        in_channels: C of an image.
        width: channels of the first stage, 16 in the paper; the others have two and four times as many.
    """

    def __init__(self, depth: int, num_classes: int, in_channels: int, *, width: int = 16) -> None:
        super().__init__()
        assert depth % 6 == 2, depth
        num_blocks = (depth - 2) // 6
        self.feature_width: int = 4 * width
        self.conv1 = conv3x3(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, num_blocks=num_blocks, stride=1)
        self.layer2 = _stage(width, 2 * width, num_blocks=num_blocks, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, num_blocks=num_blocks, stride=2)
        self.linear = nn.Linear(self.feature_width, num_classes)
        initialise_convolutions(self, mode="fan_in")
        nn.init.kaiming_normal_(self.linear.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to logits [B, K]."""
        return self.classify(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to penultimate features [B, D]."""
        hidden = F.relu(self.bn1(self.conv1(images)))  # [B, D / 4, H, W]
        maps = self.layer3(self.layer2(self.layer1(hidden)))  # [B, D, H / 4, W / 4]
        return global_average(maps)

    def classify(self, features: Tensor) -> Tensor:
        """Map penultimate features [B, D] to logits [B, K]."""
        logits: Tensor = self.linear(features)
        return logits


def _stage(in_channels: int, out_channels: int, *, num_blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride=stride)
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels, stride=1) for _ in range(num_blocks - 1)))


def resnet8(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build ResNet-8 (n = 1), the smallest student of its line."""
    return CifarResNet(8, num_classes, in_channels)


def resnet20(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build ResNet-20 (n = 3)."""
    return CifarResNet(20, num_classes, in_channels)


def resnet32(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build ResNet-32 (n = 5)."""
    return CifarResNet(32, num_classes, in_channels)


def resnet44(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build ResNet-44 (n = 7)."""
    return CifarResNet(44, num_classes, in_channels)


def resnet56(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build ResNet-56 (n = 9)."""
    return CifarResNet(56, num_classes, in_channels)

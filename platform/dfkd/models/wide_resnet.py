"""Wide residual networks: BatchNorm and ReLU come before each convolution, depth 6n + 4.

Parameter names are those of the public line xternalz/WideResNet-pytorch -> CMI -> NAYER, so its weights load.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.models.layers import conv3x3, global_average, initialise_convolutions


class PreActivationBlock(nn.Module):
    """BN, ReLU, convolution, twice; the shortcut is a 1x1 convolution where the width changes."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv3x3(in_channels, out_channels, stride=stride)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.keeps_shape = in_channels == out_channels and stride == 1
        if not self.keeps_shape:  # the public weights' name for it
            self.convShortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C', H / stride, W / stride]."""
        activated = F.relu(self.bn1(maps))
        shortcut = maps if self.keeps_shape else self.convShortcut(activated)
        hidden = F.relu(self.bn2(self.conv1(activated)))
        return shortcut + self.conv2(hidden)  # type: ignore[no-any-return]


class Stage(nn.Module):
    """Blocks of one width. The line's weights call their sequence ``layer``."""

    def __init__(self, in_channels: int, out_channels: int, *, num_blocks: int, stride: int) -> None:
        super().__init__()
        first = PreActivationBlock(in_channels, out_channels, stride=stride)
        others = (PreActivationBlock(out_channels, out_channels, stride=1) for _ in range(num_blocks - 1))
        self.layer = nn.Sequential(first, *others)

    def forward(self, maps: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C', H / stride, W / stride]."""
        result: Tensor = self.layer(maps)
        return result


class WideResNet(nn.Module):
    """WRN-depth-widening for small images of any size.

    Source: Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016, table 1, without dropout.

    Args:
        depth: 6n + 4.
        widening: k; the stages have 16k, 32k and 64k channels.
        num_classes: K.
        in_channels: C of an image.
    """

    def __init__(self, depth: int, widening: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        assert depth % 6 == 4, depth
        num_blocks = (depth - 4) // 6
        widths = (16 * widening, 32 * widening, 64 * widening)
        self.feature_width: int = widths[2]
        self.conv1 = conv3x3(in_channels, 16)
        self.block1 = Stage(16, widths[0], num_blocks=num_blocks, stride=1)
        self.block2 = Stage(widths[0], widths[1], num_blocks=num_blocks, stride=2)
        self.block3 = Stage(widths[1], widths[2], num_blocks=num_blocks, stride=2)
        self.bn1 = nn.BatchNorm2d(widths[2])
        self.fc = nn.Linear(widths[2], num_classes)
        initialise_convolutions(self, mode="fan_out")
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to logits [B, K]."""
        return self.classify(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to penultimate features [B, D]."""
        maps = self.block3(self.block2(self.block1(self.conv1(images))))  # [B, D, H / 4, W / 4]
        return global_average(F.relu(self.bn1(maps)))

    def classify(self, features: Tensor) -> Tensor:
        """Map penultimate features [B, D] to logits [B, K]."""
        logits: Tensor = self.fc(features)
        return logits


def wrn_16_1(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build WRN-16-1, the smallest student of the field's benchmark pairs."""
    return WideResNet(16, 1, num_classes, in_channels)


def wrn_16_2(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build WRN-16-2."""
    return WideResNet(16, 2, num_classes, in_channels)


def wrn_40_1(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build WRN-40-1."""
    return WideResNet(40, 1, num_classes, in_channels)


def wrn_40_2(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build WRN-40-2, the teacher of the field's benchmark pairs."""
    return WideResNet(40, 2, num_classes, in_channels)

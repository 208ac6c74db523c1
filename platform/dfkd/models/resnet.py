"""ResNet-18 and ResNet-34 with a stem for small images: four stages of 64, 128, 256 and 512 channels.

Parameter names are torchvision's, so that a torchvision ResNet whose stem was replaced loads. The names of the CMI and
NAYER line (``shortcut`` for ``downsample``, ``linear`` for ``fc``) load as well: the field's public teachers have them.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.models.layers import conv3x3, global_average, initialise_convolutions

WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes (option B)."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride=stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            self.downsample.append(nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False))
            self.downsample.append(nn.BatchNorm2d(out_channels))

    def forward(self, maps: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C', H / stride, W / stride]."""
        hidden = F.relu(self.bn1(self.conv1(maps)))
        return F.relu(self.bn2(self.conv2(hidden)) + self.downsample(maps))


class ResNet(nn.Module):
    """ResNet with a 3x3 stem of stride 1 and no pooling before the stages, for small images of any size.

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, table 1. Deviation: the stem, as in the
    public code of DAFL, CMI and NAYER.

    Args:
        num_blocks: blocks of each of the four stages.
        num_classes: K.
        in_channels: C of an image.
    """

    feature_width: int = 512

    def __init__(self, num_blocks: tuple[int, int, int, int], num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, WIDTHS[0])
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1 = _stage(WIDTHS[0], WIDTHS[0], num_blocks=num_blocks[0], stride=1)
        self.layer2 = _stage(WIDTHS[0], WIDTHS[1], num_blocks=num_blocks[1], stride=2)
        self.layer3 = _stage(WIDTHS[1], WIDTHS[2], num_blocks=num_blocks[2], stride=2)
        self.layer4 = _stage(WIDTHS[2], WIDTHS[3], num_blocks=num_blocks[3], stride=2)
        self.fc = nn.Linear(self.feature_width, num_classes)
        initialise_convolutions(self, mode="fan_out")
        self.register_load_state_dict_pre_hook(_accept_names_of_the_cmi_line)  # type: ignore[no-untyped-call]

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to logits [B, K]."""
        return self.classify(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to penultimate features [B, 512]."""
        hidden = F.relu(self.bn1(self.conv1(images)))  # [B, 64, H, W]
        maps = self.layer4(self.layer3(self.layer2(self.layer1(hidden))))  # [B, 512, H / 8, W / 8]
        return global_average(maps)

    def classify(self, features: Tensor) -> Tensor:
        """Map penultimate features [B, 512] to logits [B, K]."""
        logits: Tensor = self.fc(features)
        return logits


def _stage(in_channels: int, out_channels: int, *, num_blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride=stride)
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels, stride=1) for _ in range(num_blocks - 1)))


def _accept_names_of_the_cmi_line(network: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        own = name.removeprefix(prefix)
        renamed = own.replace(".shortcut.", ".downsample.")
        if renamed.startswith("linear."):
            renamed = "fc." + renamed.removeprefix("linear.")
        if renamed != own:
            state[prefix + renamed] = state.pop(name)


def resnet18(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build ResNet-18 for small images."""
    return ResNet((2, 2, 2, 2), num_classes, in_channels)


def resnet34(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build ResNet-34 for small images."""
    return ResNet((3, 4, 6, 3), num_classes, in_channels)

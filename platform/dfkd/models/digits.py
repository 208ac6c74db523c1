"""Small networks for the 8x8 images of scikit-learn's handwritten digits. They are ours, sized for seconds on a CPU."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.models.layers import conv3x3, global_average, initialise_convolutions


class DigitsNetwork(nn.Module):
    """Convolution, BatchNorm, ReLU a layer; some layers halve the image; then a global average and one Linear layer.

    Args:
        widths: channels of each layer; the last is D.
        halving: indices of the layers with stride 2.
        num_classes: K.
        in_channels: C of an image; H and W are free.
    """

    def __init__(
        self, widths: tuple[int, ...], *, halving: tuple[int, ...], num_classes: int, in_channels: int
    ) -> None:
        super().__init__()
        self.feature_width: int = widths[-1]
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        for index, width in enumerate(widths):
            self.convolutions.append(conv3x3(in_channels, width, stride=2 if index in halving else 1))
            self.norms.append(nn.BatchNorm2d(width))
            in_channels = width
        self.linear = nn.Linear(self.feature_width, num_classes)
        initialise_convolutions(self, mode="fan_out")

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to logits [B, K]."""
        return self.classify(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to penultimate features [B, D]."""
        maps = images
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = F.relu(norm(convolution(maps)))
        return global_average(maps)

    def classify(self, features: Tensor) -> Tensor:
        """Map penultimate features [B, D] to logits [B, K]."""
        logits: Tensor = self.linear(features)
        return logits


def digits_teacher(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build the digits teacher: about 66,000 parameters."""
    return DigitsNetwork((32, 32, 64, 64), halving=(1, 3), num_classes=num_classes, in_channels=in_channels)


def digits_student(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build the digits student: about 11,000 parameters, a sixth of the teacher."""
    return DigitsNetwork((16, 24, 32), halving=(1,), num_classes=num_classes, in_channels=in_channels)

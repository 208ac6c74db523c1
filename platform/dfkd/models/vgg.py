"""VGG-11 with BatchNorm and one Linear layer, for small images.

Parameter names are those of the public line RepDistiller -> CMI -> NAYER, so its weights load.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.models.layers import global_average, initialise_convolutions

STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))  # configuration A
LARGE_IMAGE = 64  # from this side on, the fourth pooling takes part, as in the line's code


class VGG(nn.Module):
    """Five stages of 3x3 convolutions with pooling between them, then a global average.

    Source: Simonyan and Zisserman, Very Deep Convolutional Networks, ICLR 2015, table 1, column A. Deviations, those of
    the field: BatchNorm after each convolution, a global average and one Linear layer in place of three, and no fourth
    pooling for images below 64 pixels.

    Args:
        num_classes: K.
        in_channels: C of an image; H and W are at least 8.
    """

    feature_width: int = 512

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.block0 = _stage(in_channels, STAGES[0])
        self.block1 = _stage(STAGES[0][-1], STAGES[1])
        self.block2 = _stage(STAGES[1][-1], STAGES[2])
        self.block3 = _stage(STAGES[2][-1], STAGES[3])
        self.block4 = _stage(STAGES[3][-1], STAGES[4])
        self.classifier = nn.Linear(self.feature_width, num_classes)
        initialise_convolutions(self, mode="fan_out")
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to logits [B, K]."""
        return self.classify(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to penultimate features [B, 512].

        Raises:
            ValueError: if a side is below 8 pixels, which three poolings would leave empty.
        """
        side = min(images.shape[2:])
        if side < 8:
            raise ValueError(f"vgg11: expected images of at least 8x8 pixels, got {images.shape[2]}x{images.shape[3]}.")
        maps = F.relu(self.block0(images))
        for stage in (self.block1, self.block2, self.block3):
            maps = F.relu(stage(F.max_pool2d(maps, 2)))  # halves H and W
        if side >= LARGE_IMAGE:
            maps = F.max_pool2d(maps, 2)
        return global_average(F.relu(self.block4(maps)))

    def classify(self, features: Tensor) -> Tensor:
        """Map penultimate features [B, 512] to logits [B, K]."""
        logits: Tensor = self.classifier(features)
        return logits


def _stage(in_channels: int, widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(in_channels, width, kernel_size=3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        in_channels = width
    return nn.Sequential(*layers[:-1])  # the last ReLU comes outside, so that a stage ends at its BatchNorm


def vgg11(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build VGG-11 with BatchNorm."""
    return VGG(num_classes, in_channels)

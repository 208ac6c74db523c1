"""LeNet-5 with ReLU and maximum pooling, the teacher of the field's MNIST experiments. It has no BatchNorm.

Parameter names are those of CMI's code.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

IMAGE_SIDE = 32
MNIST_SIDE = 28


class LeNet5(nn.Module):
    """Three convolutions and two Linear layers for images of 32x32; 28x28 is padded to that with its border pixels.

    Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition, Proc. IEEE, 1998, figure 2.
    Deviations, those of the public code of DAFL and CMI: ReLU, maximum pooling, full connections, a Linear output.

    Args:
        num_classes: K.
        in_channels: C of an image.
    """

    feature_width: int = 84

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, kernel_size=5),  # [B, 6, 28, 28]
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, kernel_size=5),  # [B, 16, 10, 10]
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 120, kernel_size=5),  # [B, 120, 1, 1]
            nn.ReLU(),
        )
        self.fc = nn.Sequential(
            nn.Linear(120, self.feature_width), nn.ReLU(), nn.Linear(self.feature_width, num_classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, 32, 32] or [B, C, 28, 28] to logits [B, K]."""
        return self.classify(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, 32, 32] or [B, C, 28, 28] to penultimate features [B, 84].

        Raises:
            ValueError: for any other size.
        """
        size = tuple(images.shape[2:])
        if size == (MNIST_SIDE, MNIST_SIDE):
            images = F.pad(
                images, (2, 2, 2, 2), mode="replicate"
            )  # [B, C, 32, 32]; zeros would be grey, not background
        elif size != (IMAGE_SIDE, IMAGE_SIDE):
            raise ValueError(
                f"lenet5: expected images of 32x32 or 28x28 pixels, got {size[0]}x{size[1]}. "
                "Set dataset.image_size to 32, or choose a network without a fixed size, such as resnet8."
            )
        hidden = self.features(images).flatten(1)  # [B, 120]
        features: Tensor = self.fc[:2](hidden)
        return features

    def classify(self, features: Tensor) -> Tensor:
        """Map penultimate features [B, 84] to logits [B, K]."""
        logits: Tensor = self.fc[2](features)
        return logits


def lenet5(num_classes: int, in_channels: int = 3) -> nn.Module:
    """Build LeNet-5."""
    return LeNet5(num_classes, in_channels)

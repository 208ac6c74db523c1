"""What several families share: the 3x3 convolution, pooling, and the initialisation of their papers."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn


def conv3x3(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps (or divides by ``stride``) height and width; BatchNorm makes a bias idle."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)


def global_average(maps: Tensor) -> Tensor:
    """Average [B, D, H, W] over the pixels, to [B, D]: what makes a network independent of the image size."""
    return maps.mean(dim=(2, 3))


def initialise_convolutions(network: nn.Module, *, mode: Literal["fan_in", "fan_out"]) -> None:
    """Draw every convolution from N(0, 2 / fan), with biases at zero.

    Source: He et al., Delving Deep into Rectifiers, ICCV 2015, equations 10 (fan in) and 14 (fan out).
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

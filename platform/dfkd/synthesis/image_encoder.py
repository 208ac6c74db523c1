"""The encoder of a generative memory: images to the Gaussian of their latents."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class ImageEncoder(nn.Module):
    """(conv -> BN -> LeakyReLU) x 2 -> every second pixel -> conv of stride 2 -> BN -> every second pixel -> 2 Linear.

    Source: Binici et al., PRE-DFKD, AAAI 2022, public code, with the columns of an image scaled to unit length first.
    Deviation: BN keeps torch's epsilon; the public code passes 0.8 for it, by all appearances meant as a momentum.

    Args:
        width: g, channels after the first convolution; 2g after the others.
        latent_width: Z.
        image_shape: (C, H, W).
    """

    def __init__(self, *, width: int, latent_width: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, image_width = image_shape
        self.maps = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.halve = nn.Sequential(nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1), nn.BatchNorm2d(2 * width))
        features = 2 * width * -(-height // 8) * -(-image_width // 8)  # halved three times, rounded up
        self.to_mean = nn.Linear(features, latent_width)
        self.to_log_variance = nn.Linear(features, latent_width)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalised images [B, C, H, W] to mean and logarithm of the variance of their latents, [B, Z] each."""
        hidden = self.maps(F.normalize(images, dim=2))[:, :, ::2, ::2]  # [B, 2g, H / 2, W / 2]
        hidden = self.halve(hidden)[:, :, ::2, ::2].flatten(1)  # [B, 2g H / 8 W / 8]
        return self.to_mean(hidden), self.to_log_variance(hidden)

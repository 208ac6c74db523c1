"""The generator of the CMI, FastDFKD and NAYER line, for any image size."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dfkd.initialisation import reset_layers
from dfkd.settings.synthesis import GeneratorSettings


class UpsamplingGenerator(nn.Module):
    """Linear -> BN -> (up 2x -> conv -> BN -> LeakyReLU) x n -> conv -> sigmoid.

    Source: Fang et al., Contrastive Model Inversion, IJCAI 2021 (public code), with n = 2 and the width g of the last
    block. Deviation: n is a setting, and sizes that 2^n does not divide are made larger and cropped.

    Args:
        settings: width g and number of doublings n.
        latent_width: Z.
        image_shape: (C, H, W) of the images to make.
    """

    def __init__(self, settings: GeneratorSettings, *, latent_width: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, self.height, self.width = image_shape
        scale = 2**settings.num_doublings
        self.base = (2 * settings.width, -(-self.height // scale), -(-self.width // scale))  # rounded up
        self.project = nn.Linear(latent_width, self.base[0] * self.base[1] * self.base[2])
        self.norm = nn.BatchNorm2d(self.base[0])
        widths = [2 * settings.width] * settings.num_doublings + [settings.width]
        self.blocks = nn.Sequential(
            *(_doubling(before, after) for before, after in zip(widths[:-1], widths[1:], strict=True))
        )
        self.to_image = nn.Conv2d(settings.width, channels, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents [B, Z] to images [B, C, H, W] in [0, 1]."""
        hidden = self.norm(self.project(latents).view(-1, *self.base))  # [B, 2g, H / 2^n, W / 2^n]
        images: Tensor = self.to_image(self.blocks(hidden)).sigmoid()
        return images[:, :, : self.height, : self.width]

    def stages(self, latents: Tensor) -> list[Tensor]:
        """Return the feature maps on the way from latents [B, Z]: [B, 2g, H / 2^n, W / 2^n], then one a doubling."""
        maps = [self.norm(self.project(latents).view(-1, *self.base))]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return maps

    def finish(self, features: Tensor, stage: int) -> Tensor:
        """Map what ``stages`` gave at index ``stage`` to images [B, C, H, W] in [0, 1]."""
        images: Tensor = self.to_image(self.blocks[stage:](features)).sigmoid()
        return images[:, :, : self.height, : self.width]

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Re-initialise every layer in place, so that optimisers and graphs keep pointing at the same tensors."""
        reset_layers(self, generator)


def _doubling(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample(scale_factor=2),
        nn.Conv2d(before, after, 3, padding=1),
        nn.BatchNorm2d(after),
        nn.LeakyReLU(0.2, inplace=True),
    )

"""Noise to images: one generator a file, all of them in ``GENERATORS``."""

from __future__ import annotations

from dfkd.generators.upsampling import UpsamplingGenerator
from dfkd.settings.synthesis import GeneratorSettings

GENERATORS = {"upsampling": UpsamplingGenerator}


def build_generator(
    settings: GeneratorSettings, *, latent_width: int, image_shape: tuple[int, int, int]
) -> UpsamplingGenerator:
    """Return the generator of the settings: latents [B, Z] -> images [B, C, H, W] in [0, 1]."""
    return GENERATORS[settings.name](settings, latent_width=latent_width, image_shape=image_shape)

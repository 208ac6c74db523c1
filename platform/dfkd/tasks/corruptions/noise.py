"""Noise of single pixels."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_noise(images: Tensor, severity: int, random: torch.Generator) -> Tensor:
    """Add normal noise of one standard deviation everywhere."""
    deviation = (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
    noise = torch.randn(images.shape, generator=random, device=images.device)
    return (images + deviation * noise).clamp(0, 1)


def shot_noise(images: Tensor, severity: int, random: torch.Generator) -> Tensor:
    """Count photons: brightness is Poisson distributed, at so many photons for white."""
    photons = (500, 250, 100, 75, 50)[severity - 1]
    return (torch.poisson(images * photons, generator=random) / photons).clamp(0, 1)


def impulse_noise(images: Tensor, severity: int, random: torch.Generator) -> Tensor:
    """Turn a share of the values to black or white, as often the one as the other."""
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    drawn = torch.rand(images.shape, generator=random, device=images.device)
    return images.masked_fill(drawn < share / 2, 0).masked_fill(drawn > 1 - share / 2, 1)

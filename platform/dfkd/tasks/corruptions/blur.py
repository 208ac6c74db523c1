"""Blur by a lens, by motion, and by zoom."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def defocus_blur(images: Tensor, severity: int, _: torch.Generator) -> Tensor:
    """Blur with a disc whose rim is smoothed by a 3x3 Gaussian."""
    radius, smoothing = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))[severity - 1]
    reach = math.ceil(radius) + 1
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    disc = (offsets.view(-1, 1).square() + offsets.square() <= radius**2).float()
    kernel = smooth((disc / disc.sum())[None, None], smoothing, reach=1)
    return filter_channels(images, kernel[0, 0]).clamp(0, 1)


def motion_blur(images: Tensor, severity: int, random: torch.Generator) -> Tensor:
    """Smear each image along its own direction within 45 degrees of the horizontal, with one-sided Gaussian weights."""
    radius, deviation = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))[severity - 1]
    batch, _, height, width = images.shape
    device = images.device
    angle = (torch.rand(batch, 1, generator=random, device=device) - 0.5) * (math.pi / 2)
    weights = torch.exp(-torch.arange(2 * radius + 1, device=device).square() / (2 * deviation**2))
    weights = weights / weights.sum()
    which = torch.arange(batch, device=device).view(-1, 1, 1)
    smeared = torch.zeros_like(images)
    for step, weight in enumerate(weights):
        rows = (torch.arange(height, device=device) + (step * angle.sin()).round().long()).clamp(0, height - 1)
        columns = (torch.arange(width, device=device) + (step * angle.cos()).round().long()).clamp(0, width - 1)
        shifted = images.permute(0, 2, 3, 1)[which, rows.unsqueeze(2), columns.unsqueeze(1)]  # [B, H, W, C]
        smeared += weight * shifted.permute(0, 3, 1, 2)
    return smeared.clamp(0, 1)


def zoom_blur(images: Tensor, severity: int, _: torch.Generator) -> Tensor:
    """Average the image with itself enlarged, in steps of 1 % from 0 up to 5, 10, 15, 20 or 25 %."""
    largest = (5, 10, 15, 20, 25)[severity - 1]
    total = images.clone()
    for percent in range(largest + 1):
        scale = 1 / (1 + percent / 100)
        theta = torch.tensor([[scale, 0, 0], [0, scale, 0]], device=images.device, dtype=images.dtype)
        grid = F.affine_grid(theta.expand(len(images), 2, 3), list(images.shape), align_corners=False)
        total += F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return (total / (largest + 2)).clamp(0, 1)


def smooth(images: Tensor, deviation: float, *, reach: int) -> Tensor:
    """Smooth [B, C, H, W] with a Gaussian; deviation and ``reach``, where it is cut, are in pixels."""
    offsets = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    weights = torch.exp(-offsets.square() / (2 * deviation**2))
    weights = weights / weights.sum()
    return filter_channels(filter_channels(images, weights.view(-1, 1)), weights.view(1, -1))


def filter_channels(images: Tensor, kernel: Tensor) -> Tensor:
    """Filter every channel of [B, C, H, W] with one kernel [k, l], both odd; edge pixels are repeated."""
    batch, channels, height, width = images.shape
    down, across = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = F.pad(images.reshape(batch * channels, 1, height, width), (across, across, down, down), mode="replicate")
    return F.conv2d(padded, kernel[None, None].to(images.dtype)).view(images.shape)

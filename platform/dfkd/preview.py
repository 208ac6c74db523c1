"""Synthetic images as a PNG grid."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

COLUMNS = 10
LARGEST_SIDE = 64  # pixels of a cell; small images are enlarged by whole factors up to it


def png_grid(images: Tensor) -> bytes:
    """Lay images out in rows of ten.

    Args:
        images: uint8 [n, C, H, W], C being 1 or 3.

    Returns:
        A PNG file.
    """
    count, channels, height, width = images.shape
    factor = max(1, LARGEST_SIDE // max(height, width) // 2)
    enlarged = images.cpu().repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    rows = -(-count // COLUMNS)
    cell_height, cell_width = height * factor + 1, width * factor + 1
    grid = torch.full((channels, rows * cell_height, COLUMNS * cell_width), 255, dtype=torch.uint8)
    for index, image in enumerate(enlarged):
        top, left = index // COLUMNS * cell_height, index % COLUMNS * cell_width
        grid[:, top : top + cell_height - 1, left : left + cell_width - 1] = image
    array = grid[0].numpy() if channels == 1 else grid.permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()

"""Weather, light and what happens to an image on its way: fog, brightness, contrast, elastic changes, large pixels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dfkd.tasks.corruptions.blur import smooth

_ELASTIC = ((0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03))
_TRUNCATE = 3  # standard deviations at which a Gaussian is cut


def fog(images: Tensor, severity: int, random: torch.Generator) -> Tensor:
    """Add a fractal cloud to each image, and scale it back to its brightest value."""
    thickness, decay = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))[severity - 1]
    height, width = images.shape[2:]
    side = 2 ** math.ceil(math.log2(max(height, width, 2)))
    cloud = fractal(len(images), side, decay, random).unsqueeze(1)[:, :, :height, :width]
    brightest = images.amax(dim=(1, 2, 3), keepdim=True)
    return ((images + thickness * cloud) * brightest / (brightest + thickness)).clamp(0, 1)


def brightness(images: Tensor, severity: int, _: torch.Generator) -> Tensor:
    """Raise the value of HSV and keep hue and saturation: the same factor for all channels of a pixel."""
    more = (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]
    value = images.amax(dim=1, keepdim=True)  # [B, 1, H, W]
    raised = (value + more).clamp(0, 1)
    return torch.where(value > 0, images * raised / value.clamp_min(1e-12), raised.expand_as(images))


def contrast(images: Tensor, severity: int, _: torch.Generator) -> Tensor:
    """Move every channel of an image towards its own mean."""
    kept = (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1]
    mean = images.mean(dim=(2, 3), keepdim=True)
    return ((images - mean) * kept + mean).clamp(0, 1)


def elastic(images: Tensor, severity: int, random: torch.Generator) -> Tensor:
    """Move pixels by a smooth random field, after a random affine map of the image.

    The affine map moves three corners of a centred square by random amounts. Deviation: both displacements are added
    and the image is sampled once, where the source samples it twice.
    """
    share, smoothness, skew = _ELASTIC[severity - 1]
    batch, _, height, width = images.shape
    side = min(height, width)
    matrix = _random_affine(batch, side, skew * side, random)  # [B, 2, 3], in pixels from the centre
    rows = torch.arange(height, device=images.device) - (height - 1) / 2
    columns = torch.arange(width, device=images.device) - (width - 1) / 2
    places = torch.stack(
        [
            columns.expand(height, width),
            rows.view(-1, 1).expand(height, width),
            torch.ones_like(columns.expand(height, width)),
        ]
    )
    moved = torch.einsum("bij,jhw->bihw", matrix, places)  # [B, 2, H, W]: x and y to sample at
    if share:
        field = torch.rand((batch, 2, height, width), generator=random, device=images.device) * 2 - 1
        deviation = smoothness * side
        moved = moved + share * side * smooth(field, deviation, reach=max(1, math.ceil(_TRUNCATE * deviation)))
    scale = torch.tensor([2 / width, 2 / height], device=images.device).view(1, 2, 1, 1)
    grid = (moved * scale).permute(0, 2, 3, 1)  # [B, H, W, 2] in [-1, 1]
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False).clamp(0, 1)


def pixelate(images: Tensor, severity: int, _: torch.Generator) -> Tensor:
    """Shrink by averaging and enlarge again, both with a box filter."""
    share = (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1]
    height, width = images.shape[2:]
    rows, columns = (_through_fewer(side, max(1, int(side * share)), images.device) for side in (height, width))
    return rows @ images @ columns.mT


def _through_fewer(side: int, fewer: int, device: torch.device) -> Tensor:
    """Return the matrix [side, side] that takes a row of pixels to ``fewer`` ones and back."""

    def box(source: int, target: int) -> Tensor:
        scale = source / target
        centres = (torch.arange(target, device=device).view(-1, 1) + 0.5) * scale
        distances = (torch.arange(source, device=device) + 0.5 - centres) / max(scale, 1.0)  # [target, source]
        inside = ((distances > -0.5) & (distances <= 0.5)).float()  # each source pixel whose centre lies in the box
        return inside / inside.sum(dim=1, keepdim=True)

    return box(fewer, side) @ box(side, fewer)


def fractal(batch: int, side: int, decay: float, random: torch.Generator) -> Tensor:
    """Return clouds [B, side, side] in [0, 1] by the diamond-square algorithm on a torus.

    Source: Fournier et al., Computer Rendering of Stochastic Models, CACM 1982. The noise of a level falls by
    ``decay`` squared, as the square of its amplitude does in the source of this folder.
    """
    heights = torch.zeros(batch, side, side, device=random.device)
    step, amplitude = side, 1.0

    def noisy_mean(total: Tensor) -> Tensor:
        noise = torch.rand(total.shape, generator=random, device=random.device) * 2 - 1
        return total / 4 + amplitude * noise

    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        total = corners + corners.roll(-1, 1)
        total = total + total.roll(-1, 2)
        heights[:, half::step, half::step] = noisy_mean(total)
        centres = heights[:, half::step, half::step]
        across = corners + corners.roll(-1, 2)  # left and right of the middle of an upper edge
        heights[:, ::step, half::step] = noisy_mean(across + centres + centres.roll(1, 1))
        down = corners + corners.roll(-1, 1)
        heights[:, half::step, ::step] = noisy_mean(down + centres + centres.roll(1, 2))
        step, amplitude = half, amplitude / decay**2
    lowest, highest = heights.amin(dim=(1, 2), keepdim=True), heights.amax(dim=(1, 2), keepdim=True)
    return (heights - lowest) / (highest - lowest).clamp_min(1e-12)


def _random_affine(batch: int, side: int, skew: float, random: torch.Generator) -> Tensor:
    """Return matrices [B, 2, 3] that move three corners of a centred square by up to ``skew`` each."""
    reach = side // 3
    corners = torch.tensor([[reach, reach, 1.0], [reach, -reach, 1.0], [-reach, -reach, 1.0]], device=random.device)
    moves = (torch.rand((batch, 3, 2), generator=random, device=random.device) * 2 - 1) * skew
    if reach == 0:
        return torch.eye(2, 3, device=random.device).expand(batch, 2, 3)
    matrices: Tensor = torch.linalg.solve(corners, corners[:, :2] + moves)  # corners @ matrix = moved corners
    return matrices.mT

"""Many crops of one image: turned, sheared, recoloured. Made once, before a run."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor

from dfkd.baselines.colour_jitter import jitter_colours
from dfkd.data.real_data import RealData
from dfkd.settings.synthesis import ImageCropsSettings

ASPECTS = (3 / 4, 4 / 3)  # of a crop, width to height
_CROPS_AT_A_TIME = 1000


def load_crops(settings: ImageCropsSettings, data: RealData) -> Tensor:
    """Return crops of the settings' image, uint8 [N, C, H, W]: the same for the same settings.

    Args:
        settings: which image, how many crops, and how they differ.
        data: the teacher's; only their shape is looked at.

    Raises:
        ValueError: naming ``synthesis.path``, if there is no such image or it does not decode.
    """
    channels, height, width = data.image_shape
    pixels = np.asarray(read_image(settings).convert("L" if channels == 1 else "RGB"))
    image = torch.from_numpy(pixels.copy()).view(*pixels.shape[:2], -1).permute(2, 0, 1)  # [C, h, w]
    generator = torch.Generator().manual_seed(settings.crops_seed)
    return make_crops(image, settings, height=height, width=width, generator=generator)


def read_image(settings: ImageCropsSettings) -> Image.Image:
    """Return the settings' image, decoded.

    Raises:
        ValueError: if there is none, or it does not decode.
    """
    if settings.path is None:
        from sklearn import datasets

        return Image.fromarray(datasets.load_sample_image("china.jpg"))
    path = Path(settings.path).expanduser()
    try:
        if path.suffix == ".parquet":
            return _read_row(path, settings.row)
        with Image.open(path) as image:
            image.load()
            return image
    except Exception as error:  # a decoder may raise anything on a damaged file
        raise ValueError(
            f"synthesis.path: expected an image, or a Parquet file with one in row {settings.row} of its column image, "
            f"at {path.absolute()}: {error}."
        ) from error


def _read_row(path: Path, row: int) -> Image.Image:
    import pyarrow.parquet

    images = pyarrow.parquet.read_table(path, columns=["image"])["image"]
    if row >= len(images):
        raise ValueError(f"it has {len(images)} rows, counted from 0")
    image = Image.open(io.BytesIO(images[row].as_py()["bytes"]))
    image.load()
    return image


def make_crops(
    image: Tensor, settings: ImageCropsSettings, *, height: int, width: int, generator: torch.Generator
) -> Tensor:
    """Cut crops out of an image [C, h, w] uint8, and bring them to [N, C, height, width] uint8.

    A square of half the image's shorter side; in it a rectangle of 1/500 to all of its area; rotation and shear; the
    middle of what comes out; a mirror image of half of them; other colours for half of them.

    Source: Asano and Saeed, The Augmented Image Prior, ICLR 2023, and its public code for CIFAR. Deviations: all steps
    are one resampling, bilinear from a pyramid of halved images in place of bicubic; where a turned crop leaves its
    rectangle it shows what lies there, mirrored at the image's border, and not black; the mirror image is part of the
    crop, and shifts of a few pixels come when it is drawn; colours as in ``jitter_colours``.
    """
    pyramid = _halve(image.float().div(255).unsqueeze(0))
    pieces = []
    for start in range(0, settings.num_crops, _CROPS_AT_A_TIME):
        count = min(_CROPS_AT_A_TIME, settings.num_crops - start)
        affine, pixels_a_pixel = _draw_affine(count, image, settings, (height, width), generator)
        crops = _resample(pyramid, affine, pixels_a_pixel, (height, width))
        crops = jitter_colours(crops, probability=settings.colour_jitter, generator=generator)
        pieces.append(crops.mul(255).round().to(torch.uint8))
    return torch.cat(pieces)


def _draw_affine(
    count: int, image: Tensor, settings: ImageCropsSettings, size: tuple[int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return maps [N, 2, 3] from a crop's positions in [-1, 1] to the image's, and source pixels a crop's pixel [N]."""
    image_size = torch.tensor(image.shape[:0:-1], dtype=torch.float32)  # (w, h)
    uniform = torch.rand(9, count, generator=generator)
    side = settings.first_crop * float(image_size.min())
    area = side**2 * (settings.smallest_area + (1 - settings.smallest_area) * uniform[0])
    aspect = ASPECTS[0] * (ASPECTS[1] / ASPECTS[0]) ** uniform[1]
    extent = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], dim=1).clamp_max(side)  # [N, 2]: w, h
    # The square's centre, and the rectangle's in it: each anywhere where it fits.
    centre = side / 2 + (image_size - side) * uniform[2:4].T + (side - extent) * (uniform[4:6].T - 0.5)
    turn = math.radians(settings.degrees) * (2 * uniform[6] - 1)
    shear = (math.radians(settings.shear_degrees) * (2 * uniform[7] - 1)).tan()
    mirror = torch.where(uniform[8] < 0.5, -1.0, 1.0)
    rotation = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], dim=1).view(-1, 2, 2)
    shearing = torch.eye(2).repeat(count, 1, 1)
    shearing[:, 0, 1] = shear
    linear = rotation @ shearing / math.sqrt(2)  # the middle of a canvas that is larger by sqrt(2)
    linear[:, :, 0] *= mirror.unsqueeze(1)
    linear = linear * (extent / image_size).unsqueeze(2)
    affine = torch.cat([linear, (2 * centre / image_size - 1).unsqueeze(2)], dim=2)
    pixels_a_pixel = (extent / math.sqrt(2) / torch.tensor(size[::-1])).amax(dim=1)
    return affine, pixels_a_pixel


def _halve(image: Tensor) -> list[Tensor]:
    """Return the image [1, C, h, w], half of it, a quarter and so on, down to a few pixels."""
    pyramid = [image]
    while min(pyramid[-1].shape[2:]) >= 8:
        pyramid.append(F.avg_pool2d(pyramid[-1], 2))
    return pyramid


def _resample(pyramid: list[Tensor], affine: Tensor, pixels_a_pixel: Tensor, size: tuple[int, int]) -> Tensor:
    """Read every crop off the level of the pyramid whose pixels are about as large as the crop's: [N, C, H, W]."""
    levels = pixels_a_pixel.log2().round().clamp(0, len(pyramid) - 1).long()
    crops = torch.empty(len(affine), pyramid[0].shape[1], *size)
    for level, image in enumerate(pyramid):
        rows = (levels == level).nonzero().flatten()
        if len(rows):
            grid = F.affine_grid(affine[rows], [len(rows), 1, *size], align_corners=False)
            source = image.expand(len(rows), -1, -1, -1)
            crops[rows] = F.grid_sample(source, grid, padding_mode="reflection", align_corners=False)
    return crops

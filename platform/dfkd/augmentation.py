"""Random changes of a batch, differentiable, on the images' device: crops and flips, colour jitter, CutMix."""

from __future__ import annotations

import math

import torch
from torch import Tensor

STRETCH = 4 / 3  # a resized crop is at most this much wider than high, or higher than wide


def augment(images: Tensor, *, crop_padding: int, horizontal_flip: bool, generator: torch.Generator) -> Tensor:
    """Shift every image by its own random offset, repeating the edge pixels that come in, and mirror half of them.

    Repeated edges and not black ones: a black border moves the statistics of a batch further than anything else that
    augmentation does, and a generator that is asked to match BatchNorm statistics would paint against it.

    A shift is a product with a 0/1 selection matrix a side. That is exact, costs under 1 % of a small network's
    forward pass, and its gradient is another product: deterministic on every device, unlike a scatter.

    Args:
        images: [B, C, H, W].
        crop_padding: largest shift in pixels; 0 shifts nothing.
        horizontal_flip: whether to mirror each image with probability 1/2.
        generator: source of randomness, on the device of ``images``.

    Returns:
        [B, C, H, W], same dtype.
    """
    if crop_padding == 0 and not horizontal_flip:
        return images
    batch, _, height, width = images.shape
    device = images.device
    shifts = torch.randint(-crop_padding, crop_padding + 1, (2, batch, 1), generator=generator, device=device)
    # Which row and column each output row and column is taken from.
    rows = (torch.arange(height, device=device) + shifts[0]).clamp_(0, height - 1)  # [B, H]
    columns = (torch.arange(width, device=device) + shifts[1]).clamp_(0, width - 1)  # [B, W]
    if horizontal_flip:
        mirrored = torch.rand(batch, 1, generator=generator, device=device) < 0.5
        columns = torch.where(mirrored, width - 1 - columns, columns)
    select_rows = _selection(rows, height, images.dtype)  # [B, 1, H, H]
    select_columns = _selection(columns, width, images.dtype)  # [B, 1, W, W]
    return select_rows @ images @ select_columns.mT


def random_resized_crop(
    images: Tensor, *, smallest_share: float, horizontal_flip: bool, generator: torch.Generator
) -> Tensor:
    """Cut a random window out of every image, bring it to the image's size bilinearly, and mirror half of them.

    As in ``augment``, each side is a product with a matrix, here one of interpolation weights, for the same reasons.

    Args:
        images: [B, C, H, W].
        smallest_share: of the image's area that a window covers, in (0, 1]; the largest is all of it.
        horizontal_flip: whether to mirror each image with probability 1/2.
        generator: source of randomness, on the device of ``images``.

    Returns:
        [B, C, H, W], same dtype.

    Source: Szegedy et al., Going Deeper with Convolutions, CVPR 2015, section 6. Deviation: windows need not begin at
    whole pixels, and a side that would be longer than the image is cut to it instead of being drawn again.
    """
    batch, _, height, width = images.shape
    device = images.device
    drawn = torch.rand(4, batch, 1, generator=generator, device=device, dtype=images.dtype)
    area = smallest_share + (1 - smallest_share) * drawn[0]  # [B, 1], as a share of the image
    ratio = torch.exp(math.log(STRETCH) * (2 * drawn[1] - 1))
    rows = _window((area / ratio).sqrt().clamp_max(1), drawn[2], height)  # [B, H]
    columns = _window((area * ratio).sqrt().clamp_max(1), drawn[3], width)  # [B, W]
    if horizontal_flip:
        mirrored = torch.rand(batch, 1, generator=generator, device=device) < 0.5
        columns = torch.where(mirrored, width - 1 - columns, columns)
    return _interpolation(rows, height) @ images @ _interpolation(columns, width).mT


def _window(share: Tensor, offset: Tensor, size: int) -> Tensor:
    """Return where the samples of a window lie, [B, size], in pixels; share and offset are [B, 1] in [0, 1]."""
    start = offset * (1 - share) * size
    centres = (torch.arange(size, device=share.device) + 0.5) * share
    return (start + centres - 0.5).clamp(0, size - 1)


def _interpolation(positions: Tensor, size: int) -> Tensor:
    """Return [B, 1, size, size]: the weight of input position j in output position i, linear in their distance."""
    pixels = torch.arange(size, device=positions.device)
    return (1 - (positions.unsqueeze(-1) - pixels).abs()).clamp_min(0).unsqueeze(1)


def _selection(wanted: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Return [B, 1, size, size] with a one where input position j is wanted at output position i."""
    positions = torch.arange(size, device=wanted.device)
    return (wanted.unsqueeze(-1) == positions).to(dtype).unsqueeze(1)


def colour_jitter(
    images: Tensor, *, strength: float, probability: float, generator: torch.Generator, hue: float | None = None
) -> Tensor:
    """Change brightness, contrast, saturation and hue of some images, each by a little, differentiably.

    Images of other than three channels have no saturation and no hue; those two are left out.

    Args:
        images: [B, C, H, W] in [0, 1].
        strength: factors are drawn from [1 - strength, 1 + strength], the turn of the hue from +-strength of a circle.
        probability: of an image to be changed.
        generator: source of randomness, on the device of ``images``.
        hue: the largest turn where it is not ``strength``.

    Returns:
        [B, C, H, W] in [0, 1].

    Source: ColorJitter of torchvision and Kornia. Deviations: the four come in this order always, and hue is turned
    about the grey diagonal of the RGB cube, a linear map, not in HSV.
    """
    batch, channels = images.shape[:2]
    drawn = torch.rand(4, batch, 1, 1, 1, generator=generator, device=images.device, dtype=images.dtype)
    changed = torch.rand(batch, 1, 1, 1, generator=generator, device=images.device) < probability
    brightness, contrast, saturation, turn = strength * (2 * drawn - 1)
    jittered = (images * (1 + brightness)).clamp(0, 1)
    mean = _grey(jittered).mean(dim=(2, 3), keepdim=True)
    jittered = (mean + (jittered - mean) * (1 + contrast)).clamp(0, 1)
    if channels == 3:
        grey = _grey(jittered)
        jittered = (grey + (jittered - grey) * (1 + saturation)).clamp(0, 1)
        turn = turn if hue is None else hue * (2 * drawn[3] - 1)
        jittered = _turn_hue(jittered, 2 * math.pi * turn).clamp(0, 1)
    return torch.where(changed, jittered, images)


def _grey(images: Tensor) -> Tensor:
    """Return [B, 1, H, W]: luma of colour images, the mean over channels of others."""
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    red, green, blue = images.split(1, dim=1)
    luma: Tensor = 0.299 * red + 0.587 * green + 0.114 * blue
    return luma


def _turn_hue(images: Tensor, angle: Tensor) -> Tensor:
    """Rotate colours [B, 3, H, W] by an angle [B, 1, 1, 1] about the axis of greys (Rodrigues' formula)."""
    grey = images.mean(dim=1, keepdim=True)  # the part along the axis, which stays
    across = (images.roll(1, dims=1) - images.roll(-1, dims=1)) / math.sqrt(3)  # axis x colour
    turned: Tensor = grey + (images - grey) * angle.cos() + across * angle.sin()
    return turned


def cut_mix(images: Tensor, *, probability: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Paste a random box of another image of the batch, at the same place, into some images.

    Args:
        images: [B, C, H, W].
        probability: of the batch to be mixed at all, and then of each of its images.
        generator: source of randomness, on the device of ``images``.

    Returns:
        The images [B, C, H, W]; for each the index of its partner [B]; and the partner's share of its area [B].

    Source: Yun et al., CutMix, ICCV 2019, with the shares drawn as in Kornia's RandomCutMixV2: the box's side is
    sqrt(u) of the image's, u uniform, and the probability counts twice.
    """
    batch, _, height, width = images.shape
    device = images.device
    partners = torch.randperm(batch, generator=generator, device=device)
    uniform = torch.rand(4, batch, 1, generator=generator, device=device)
    mixed = (uniform[0] < probability) & (torch.rand(1, generator=generator, device=device) < probability)  # [B, 1]
    side = uniform[1].sqrt() * mixed
    box_height, box_width = (side * height).floor(), (side * width).floor()  # [B, 1]
    top = (uniform[2] * (height - box_height)).floor()
    left = (uniform[3] * (width - box_width)).floor()
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    in_rows = (rows >= top) & (rows < top + box_height)  # [B, H]
    in_columns = (columns >= left) & (columns < left + box_width)  # [B, W]
    inside = in_rows[:, None, :, None] & in_columns[:, None, None, :]  # [B, 1, H, W]
    share = (box_height * box_width).squeeze(1) / (height * width)
    return torch.where(inside, images[partners], images), partners, share

"""Drawn scenes with exact masks, boxes and depths, from a seed: for tests of the plumbing of detection and depth only.

They look like nothing real, and a network that does well on them shows no more than that images, targets, heads and
metrics fit together. No table of results may hold a score on them: their columns begin with ``plumbing/``, and commands
refuse to write them to a result file.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dfkd.data.annotated import IGNORED, BoxedImages, DepthImages
from dfkd.settings.tasks.dense import AnnotatedImagesSettings

SHAPES = ("rectangle", "disc", "triangle")
COLOURS = ((0.9, 0.2, 0.2), (0.2, 0.9, 0.3), (0.3, 0.4, 1.0))  # of the shapes, before noise
SPLITS = ("train", "validation", "test")
SIZE, NUM_IMAGES, MAX_SHAPES = (64, 64), 128, 3  # unless the settings say otherwise
FARTHEST, NEAREST = 8.0, 2.0  # metres: of the wall behind, and of the nearest shape
SMALLEST_VISIBLE = 12  # pixels; of a shape with fewer no box remains, and it is not drawn


@dataclass(frozen=True, slots=True, eq=False)
class Scenes:
    """All that is known of N scenes.

    Attributes:
        images: [N, C, H, W] uint8.
        masks: [N, H, W] uint8, the shape's class or 255 where the wall is seen.
        depths: [N, H, W] float32 in metres.
        boxes: for each scene [n, 4] float32: the smallest box around what is seen of each shape.
        labels: for each scene [n] int64.
    """

    images: Tensor
    masks: Tensor
    depths: Tensor
    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]


def load_scene_boxes(settings: AnnotatedImagesSettings, split: str) -> BoxedImages:
    """Return scenes with their boxes."""
    scenes = draw_scenes(settings, split)
    return BoxedImages(scenes.images, scenes.boxes, scenes.labels, SHAPES)


def load_scene_depths(settings: AnnotatedImagesSettings, split: str) -> DepthImages:
    """Return scenes with their depths."""
    scenes = draw_scenes(settings, split)
    return DepthImages(scenes.images, scenes.depths)


def draw_scenes(settings: AnnotatedImagesSettings, split: str) -> Scenes:
    """Draw the scenes of a split: a wall, and shapes before it that are larger and brighter the nearer they are.

    Args:
        settings: seed, size, channels and number of images count.
        split: another one has other scenes.
    """
    if split not in SPLITS:
        raise ValueError(f"--split: scenes have no {split} images; they have {', '.join(SPLITS)}.")
    random = torch.Generator().manual_seed(settings.seed * len(SPLITS) + SPLITS.index(split))
    drawn = [_draw(settings, random) for _ in range(settings.max_images or NUM_IMAGES)]
    images, masks, depths, boxes, labels = zip(*drawn, strict=True)
    return Scenes(torch.stack(images), torch.stack(masks), torch.stack(depths), boxes, labels)


def _draw(settings: AnnotatedImagesSettings, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    height, width = settings.image_size or SIZE
    rows = torch.arange(height).view(-1, 1).expand(height, width)
    columns = torch.arange(width).expand(height, width)
    colour = torch.full((3, height, width), 0.25)
    depth = torch.full((height, width), FARTHEST)
    owner = torch.full((height, width), -1)  # number of the shape that is seen
    count = int(torch.randint(1, MAX_SHAPES + 1, (), generator=random))
    kinds = torch.randint(len(SHAPES), (count,), generator=random).tolist()
    for number, kind in enumerate(kinds):
        share, across, down = torch.rand(3, generator=random).tolist()
        distance = FARTHEST - 1 - (FARTHEST - 1 - NEAREST) * (number + share) / count  # from far to near
        radius = min(height, width) * 0.45 / distance + 3
        middle_row, middle_column = radius / 2 + down * (height - radius), radius / 2 + across * (width - radius)
        inside = _inside(kind, rows - middle_row, columns - middle_column, radius)
        behind = [other for other in owner[inside].unique().tolist() if other >= 0]
        left_to_see = [int(inside.sum()), *(int(((owner == other) & ~inside).sum()) for other in behind)]
        if min(left_to_see) < SMALLEST_VISIBLE:
            continue
        brightness = 0.5 + 0.5 * NEAREST / distance
        colour[:, inside] = torch.tensor(COLOURS[kind]).view(3, 1) * brightness
        depth[inside], owner[inside] = distance, number
    colour = (colour + 0.05 * torch.randn(colour.shape, generator=random)).clamp(0, 1)
    channels = colour if settings.channels == 3 else colour.mean(dim=0, keepdim=True)
    seen = [number for number in range(count) if (owner == number).any()]
    mask = torch.full((height, width), IGNORED, dtype=torch.uint8)
    for number in seen:
        mask[owner == number] = kinds[number]
    boxes = torch.stack([_box(owner == number) for number in seen])
    return (channels * 255).round().to(torch.uint8), mask, depth, boxes, torch.tensor([kinds[n] for n in seen])


def _inside(kind: int, down: Tensor, across: Tensor, radius: float) -> Tensor:
    if SHAPES[kind] == "rectangle":
        return (down.abs() <= radius) & (across.abs() <= 0.7 * radius)
    if SHAPES[kind] == "disc":
        return down.square() + across.square() <= radius**2
    return (down.abs() <= radius) & (across.abs() <= (down + radius) / 2)


def _box(seen: Tensor) -> Tensor:
    """Return the smallest box [4] around pixels [H, W]; its far corner is where the last pixel ends."""
    rows, columns = seen.any(dim=1).nonzero(), seen.any(dim=0).nonzero()
    ends = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return torch.stack(ends).float()

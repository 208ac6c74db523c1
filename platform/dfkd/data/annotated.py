"""Images with a mask, boxes or a depth map each, decoded and in memory. Which files exist is the formats' business."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dfkd.data.decode import ExampleSource, ImageFormat, decode_examples, open_example
from dfkd.settings.tasks.dense import AnnotatedImagesSettings

IGNORED = 255  # in masks: of no class, or of one that nobody knows
UNKNOWN_DEPTH = 0.0
BOX_TOLERANCE = 1.0  # pixels by which rounding may put a box outside of its image

Target = TypeVar("Target")


@dataclass(frozen=True, slots=True, eq=False)
class MaskedImages:
    """Images [N, C, H, W] uint8 and masks [N, H, W] uint8: class indices, or 255 where a pixel does not count."""

    images: Tensor
    masks: Tensor
    class_names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class BoxedImages:
    """Images [N, C, H, W] uint8, and for each of them boxes [n, 4] in pixels (x1, y1, x2, y2) with labels [n] int64."""

    images: Tensor
    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    class_names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class DepthImages:
    """Images [N, C, H, W] uint8 and depths [N, H, W] float32 in metres, 0 where nobody knows."""

    images: Tensor
    depths: Tensor


@dataclass(frozen=True, slots=True)
class AnnotatedSource(Generic[Target]):
    """One split before decoding.

    Attributes:
        num_images: N.
        open_image: gives the image of an index.
        read_target: gives what belongs to it; raises ValueError that says what is wrong with it.
        describe_target: says where that lies, e.g. "Annotations/000001.xml".
        describe_image: says where the image lies.
    """

    num_images: int
    open_image: Callable[[int], Image.Image]
    read_target: Callable[[int], Target]
    describe_target: Callable[[int], str]
    describe_image: Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of one image in its own pixels, (x1, y1, x2, y2), and their class indices."""

    corners: Sequence[Sequence[float]]
    labels: Sequence[int]


def decode_masks(
    source: AnnotatedSource[NDArray[Any]], settings: AnnotatedImagesSettings, class_names: tuple[str, ...]
) -> MaskedImages:
    """Decode images and masks of a source, masks by the nearest pixel where they are resized.

    Raises:
        ValueError: naming the mask, if it has not its image's size, or a value that is no class.
    """
    images, sizes, source = _decode_images(source, settings)
    masks = torch.empty(len(images), *images.shape[2:], dtype=torch.uint8)
    for index, size in enumerate(sizes):
        mask = _read(source, index)
        _check_size(source, index, mask, size, "mask")
        wrong = (mask >= len(class_names)) & (mask != IGNORED)
        if wrong.any():
            raise ValueError(
                f"{source.describe_target(index)}: the mask has the value {int(mask[wrong][0])}, and there are "
                f"{len(class_names)} classes (0 to {len(class_names) - 1}; {IGNORED} is ignored)."
            )
        masks[index] = _nearest(mask.astype(np.uint8), images)
    return MaskedImages(images, masks, class_names)


def decode_depths(source: AnnotatedSource[NDArray[Any]], settings: AnnotatedImagesSettings) -> DepthImages:
    """Decode images and depth maps of a source, in metres; what is not finite is not known.

    Raises:
        ValueError: naming the depth map, if it has not its image's size, or a negative depth.
    """
    images, sizes, source = _decode_images(source, settings)
    depths = torch.empty(len(images), *images.shape[2:], dtype=torch.float32)
    for index, size in enumerate(sizes):
        depth = _read(source, index)
        _check_size(source, index, depth, size, "depth map")
        depth = np.where(np.isfinite(depth), depth, UNKNOWN_DEPTH).astype(np.float32)
        if (depth < 0).any():
            raise ValueError(f"{source.describe_target(index)}: a depth of {float(depth.min()):g} m is negative.")
        depths[index] = _nearest(depth, images)
    return DepthImages(images, depths)


def decode_boxes(
    source: AnnotatedSource[Boxes], settings: AnnotatedImagesSettings, class_names: tuple[str, ...]
) -> BoxedImages:
    """Decode images and boxes of a source; boxes are scaled as their images are.

    Raises:
        ValueError: naming annotation and box, if it lies outside of its image.
    """
    images, sizes, source = _decode_images(source, settings)
    height, width = images.shape[2:]
    all_corners, all_labels = [], []
    for index, (own_width, own_height) in enumerate(sizes):
        found = _read(source, index)
        corners = torch.tensor(found.corners, dtype=torch.float32).view(-1, 4)
        limits = torch.tensor([own_width, own_height, own_width, own_height], dtype=torch.float32)
        outside = ((corners < -BOX_TOLERANCE) | (corners > limits + BOX_TOLERANCE)).any(dim=1)
        empty = (corners[:, 2:] <= corners[:, :2]).any(dim=1)
        if (outside | empty).any():
            number = int((outside | empty).nonzero()[0])
            what = "lies outside of its image" if outside[number] else "has no area; its image is"
            raise ValueError(
                f"{source.describe_target(index)}, box {number}: {_shown(corners[number])} (x1, y1, x2, y2) {what} "
                f"of {own_width} x {own_height} pixels."
            )
        corners = corners.clamp(min=torch.zeros(4), max=limits)
        all_corners.append(corners * torch.tensor([width / own_width, height / own_height] * 2))
        all_labels.append(torch.tensor(found.labels, dtype=torch.int64))
    return BoxedImages(images, tuple(all_corners), tuple(all_labels), class_names)


def _decode_images(
    source: AnnotatedSource[Target], settings: AnnotatedImagesSettings
) -> tuple[Tensor, list[tuple[int, int]], AnnotatedSource[Target]]:
    """Return images [N, C, H, W], their own (width, height), and the source cut to ``max_images``."""
    count = min(source.num_images, settings.max_images or source.num_images)
    sizes = [(0, 0)] * count

    def read(index: int) -> tuple[Image.Image, int]:
        image = source.open_image(index)
        sizes[index] = image.size
        return image, 0

    examples = ExampleSource(count, read, source.describe_image, labelled=False)
    first, _ = open_example(examples, 0)
    height, width = settings.image_size or (first.height, first.width)
    image_format = ImageFormat(
        settings.channels, height=height, width=width, resize=settings.image_size is not None, convert=True
    )
    return decode_examples(examples, image_format).images, sizes, replace(source, num_images=count)


def _read(source: AnnotatedSource[Target], index: int) -> Target:
    try:
        return source.read_target(index)
    except Exception as error:  # a decoder may raise anything on a damaged file
        raise ValueError(f"{source.describe_target(index)}: {error}") from error


def _check_size(
    source: AnnotatedSource[Any], index: int, target: NDArray[Any], size: tuple[int, int], what: str
) -> None:
    if target.shape != size[::-1]:
        raise ValueError(
            f"{source.describe_target(index)}: expected a {what} of {size[0]} x {size[1]} pixels, as the image has "
            f"({source.describe_image(index)}), got an array of shape {list(target.shape)} (height, width)."
        )


def _nearest(target: NDArray[Any], images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    if target.shape != (height, width):
        target = np.asarray(Image.fromarray(target).resize((width, height), Image.Resampling.NEAREST))
    return torch.from_numpy(np.array(target))


def _shown(corners: Tensor) -> str:
    return "[" + ", ".join(f"{value:g}" for value in corners.tolist()) + "]"

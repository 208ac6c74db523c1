"""Encoded images -> uint8 tensors: opened, checked, converted, resized. Which files exist is the loaders' business."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from dfkd.data.class_names import choose_class_names
from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData
from dfkd.settings.experiment import DatasetSettings

_IMAGES_AT_A_TIME = 512
_BYTES_AT_A_TIME = 2**24  # of decoded pixels in a thread; resizing takes four times as much
_MAX_THREADS = 8
_GREY_MODES = ("1", "L", "LA")
_DEEP_MODES = ("I", "F")  # and "I;16" in its byte orders: more than 8 bits a pixel


@dataclass(frozen=True, slots=True)
class ExampleSource:
    """One split before decoding.

    Attributes:
        num_examples: N.
        read: gives image (opened, perhaps not yet decoded) and label of an index.
        describe: says where an index lies, e.g. "data/train.parquet, row 7".
        labelled: False if the labels that ``read`` gives mean nothing.
    """

    num_examples: int
    read: Callable[[int], tuple[Image.Image, int]]
    describe: Callable[[int], str]
    labelled: bool = True


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """What every image becomes. ``resize``: other sizes are resized, not refused. ``convert``: so with colours."""

    channels: int
    height: int
    width: int
    resize: bool
    convert: bool


def decode_splits(
    settings: DatasetSettings, sources: Mapping[str, ExampleSource], *, class_names: tuple[str, ...] | None, title: str
) -> RealData:
    """Decode every split to the format of the first one.

    Args:
        settings: channels, image size, and names that replace the files'.
        sources: by split name: train, validation, test; at least one.
        class_names: as the files give them, in the order of the labels.
        title: used unless the settings give one.
    """
    image_format = _choose_format(settings, next(iter(sources.values())))
    splits = {name: decode_examples(source, image_format) for name, source in sources.items()}
    labels = [images.labels for images in splits.values() if images.labels is not None]
    num_labels = max((1 + int(some.max()) for some in labels), default=0)
    return RealData(
        title=settings.title or title,
        class_names=choose_class_names(settings, class_names, num_labels),
        train=splits.get("train"),
        validation=splits.get("validation"),
        test=splits.get("test"),
    )


def decode_examples(source: ExampleSource, image_format: ImageFormat) -> ImageSet:
    """Decode all images of a source, in threads: the decoders let go of Python's lock.

    EXIF orientation is ignored, and so is transparency: the stored colours count.

    Raises:
        ValueError: naming the image, if one does not decode, is too large, has more than 8 bits a pixel, or does not
            have the wanted format and must not be converted or resized.
    """
    shape = (source.num_examples, image_format.channels, image_format.height, image_format.width)
    images = torch.empty(shape, dtype=torch.uint8)
    labels = torch.empty(source.num_examples, dtype=torch.int64)

    def decode_piece(start: int) -> None:
        first, end = start, min(start + _IMAGES_AT_A_TIME, source.num_examples)
        waiting: list[NDArray[np.uint8]] = []
        held = 0
        for index in range(start, end):
            pixels, label = _read(source, index, image_format)
            waiting.append(pixels)
            labels[index], held = label, held + pixels.nbytes
            if index == end - 1 or held >= _BYTES_AT_A_TIME:
                _fit_into(images[first : index + 1], waiting)
                first, waiting, held = index + 1, [], 0

    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MAX_THREADS)) as pool:
        for _ in pool.map(decode_piece, range(0, source.num_examples, _IMAGES_AT_A_TIME)):
            pass
    return ImageSet(images, labels if source.labelled else None)


def _choose_format(settings: DatasetSettings, source: ExampleSource) -> ImageFormat:
    """Return the settings' format, with the first image's channels and size where they leave them open."""
    first, _ = open_example(source, 0)
    size = settings.image_size
    return ImageFormat(
        channels=settings.channels or _own_channels(first),
        height=size or first.height,
        width=size or first.width,
        resize=size is not None,
        convert=settings.channels is not None,
    )


def _own_channels(image: Image.Image) -> int:
    return 1 if image.mode in _GREY_MODES else 3


def open_example(source: ExampleSource, index: int) -> tuple[Image.Image, int]:
    """Return the decoded image and its label.

    Raises:
        ValueError: naming the image, if it does not decode or is too large.
    """
    try:
        image, label = source.read(index)
        limit = Image.MAX_IMAGE_PIXELS  # PIL itself only warns up to twice its limit
        if limit is not None and image.width * image.height > limit:
            raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels, above the limit of {limit}")
        image.load()
        return image, int(label)
    except Exception as error:  # a decoder may raise anything on a damaged file
        raise ValueError(f"{source.describe(index)}: the image does not decode ({error}).") from error


def _read(source: ExampleSource, index: int, image_format: ImageFormat) -> tuple[NDArray[np.uint8], int]:
    """Return pixels [H, W, C] with the wanted channels, and the label."""
    image, label = open_example(source, index)
    if image.mode.split(";")[0] in _DEEP_MODES:
        raise ValueError(
            f"{source.describe(index)}: expected 8 bits a channel, got an image of mode {image.mode}. "
            "Scale its grey levels to 0..255 and store it again."
        )
    if _own_channels(image) > image_format.channels and not image_format.convert:
        raise ValueError(
            f"{source.describe(index)}: this image has colours, the first one has none. Set dataset.channels to 1 or 3."
        )
    if not image_format.resize and image.size != (image_format.width, image_format.height):
        raise ValueError(
            f"{source.describe(index)}: this image has {image.width} x {image.height} pixels, the first one "
            f"{image_format.width} x {image_format.height}. Set dataset.image_size to bring all to one size."
        )
    mode = "L" if image_format.channels == 1 else "RGB"
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return pixels.reshape(image.height, image.width, image_format.channels), label


def _fit_into(images: Tensor, pixels: list[NDArray[np.uint8]]) -> None:
    """Write pixels, a list of B arrays [h, w, C], into images [B, C, H, W]; those of equal size in one go."""
    indices_by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, array in enumerate(pixels):
        indices_by_shape.setdefault(array.shape, []).append(index)
    for indices in indices_by_shape.values():
        stored = torch.from_numpy(np.stack([pixels[index] for index in indices])).permute(0, 3, 1, 2)  # [b, C, h, w]
        images[indices] = resize(stored, height=images.shape[2], width=images.shape[3])


def resize(images: Tensor, *, height: int, width: int) -> Tensor:
    """Resize images [B, C, h, w] uint8 to [B, C, height, width]: bilinear with antialiasing, rounded.

    This is what torchvision's ``resize(antialias=True)`` computes, in float32 on every machine: torchvision's own
    uint8 arithmetic exists on some processors only, and differs by a grey level.
    """
    if images.shape[2:] == (height, width):
        return images
    resized = interpolate(images.float(), (height, width), mode="bilinear", antialias=True)
    return resized.round().to(torch.uint8)

"""NYU Depth v2 as public DFKD code has it: folders ``image``, ``seg13``, ``depth``, each with ``train`` and ``test``.

Files of one image have one name. Masks: PNG, 0 to 12, 255 where nobody labelled. Depths: ``.npy`` in metres, or 16-bit
PNG in millimetres.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfkd.data.annotated import AnnotatedSource, DepthImages, MaskedImages, decode_depths, decode_masks
from dfkd.data.annotation_files import choose_split, dataset_folder, open_image, read_class_mask, require
from dfkd.settings.tasks.dense import AnnotatedImagesSettings

CLASSES = (
    "bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa", "table", "tv", "wall",
    "window",
)  # fmt: skip
SPLITS = {"train": "train", "test": "test"}
MILLIMETRES = 1000.0


def load_nyuv2_masks(settings: AnnotatedImagesSettings, split: str) -> MaskedImages:
    """Return images and masks of 13 classes.

    Source: Silberman et al., Indoor Segmentation and Support Inference from RGBD Images, ECCV 2012; the 13 classes of
    Couprie et al., Indoor Semantic Segmentation using Depth Information, ICLR 2013.
    """
    source = _source(settings, split, "seg13", (".png",), lambda path: read_class_mask(open_image(path)))
    return decode_masks(source, settings, CLASSES)


def load_nyuv2_depths(settings: AnnotatedImagesSettings, split: str) -> DepthImages:
    """Return images and depths in metres."""
    return decode_depths(_source(settings, split, "depth", (".npy", ".png"), _read_depth), settings)


def _source(
    settings: AnnotatedImagesSettings,
    split: str,
    kind: str,
    suffixes: tuple[str, ...],
    read: Callable[[Path], NDArray[Any]],
) -> AnnotatedSource[NDArray[Any]]:
    own = choose_split(settings, split, SPLITS)
    folder = dataset_folder(settings)
    images = sorted(path for path in require(folder / "image" / own, settings).iterdir() if path.suffix == ".png")
    if not images:
        raise ValueError(f"{folder / 'image' / own}: expected images (*.png), found none.")
    require(folder / kind / own, settings)

    def target_of(index: int) -> Path:
        candidates = [folder / kind / own / f"{images[index].stem}{suffix}" for suffix in suffixes]
        return next((path for path in candidates if path.exists()), candidates[0])

    return AnnotatedSource(
        num_images=len(images),
        open_image=lambda index: open_image(images[index]),
        read_target=lambda index: read(target_of(index)),
        describe_target=lambda index: str(target_of(index)),
        describe_image=lambda index: str(images[index]),
    )


def _read_depth(path: Path) -> NDArray[Any]:
    if path.suffix == ".npy":
        depth: NDArray[Any] = np.load(path, allow_pickle=False)
        return depth
    image = open_image(path)
    if not image.mode.startswith("I"):
        raise ValueError(f"expected a PNG of 16 bits a pixel, in millimetres, got mode {image.mode}.")
    return np.asarray(image).astype(np.float32) / MILLIMETRES

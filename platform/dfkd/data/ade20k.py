"""ADE20K as the scene parsing challenge packs it: the folder ADEChallengeData2016, 150 classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfkd.data.annotated import IGNORED, AnnotatedSource, MaskedImages, decode_masks
from dfkd.data.annotation_files import choose_split, dataset_folder, open_image, read_class_mask, require
from dfkd.settings.tasks.dense import AnnotatedImagesSettings

NUM_CLASSES = 150
SPLITS = {"train": "training", "test": "validation"}  # the masks of the official test images are not public


def load_ade20k_masks(settings: AnnotatedImagesSettings, split: str) -> MaskedImages:
    """Return images and masks. In the files 0 is "other" and ignored, and the classes count from 1.

    Source: Zhou et al., Scene Parsing through ADE20K Dataset, CVPR 2017.
    """
    folder, own = dataset_folder(settings), choose_split(settings, split, SPLITS)
    images = sorted(require(folder / "images" / own, settings).glob("*.jpg"))
    if not images:
        raise ValueError(f"{folder / 'images' / own}: expected images (*.jpg), found none.")

    def mask_of(index: int) -> Path:
        return folder / "annotations" / own / f"{images[index].stem}.png"

    def read(index: int) -> NDArray[Any]:
        stored = read_class_mask(open_image(mask_of(index))).astype(np.int64)
        return np.where(stored == 0, IGNORED, stored - 1)

    source = AnnotatedSource(
        num_images=len(images),
        open_image=lambda index: open_image(images[index]),
        read_target=read,
        describe_target=lambda index: str(mask_of(index)),
        describe_image=lambda index: str(images[index]),
    )
    return decode_masks(source, settings, _class_names(folder))


def _class_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the classes, by number where ``objectInfo150.txt`` is not there."""
    file = folder / "objectInfo150.txt"
    if not file.exists():
        return tuple(f"class {number}" for number in range(1, NUM_CLASSES + 1))
    names = [line.split("\t")[-1].strip() for line in file.read_text().splitlines()[1:] if line.strip()]
    if len(names) != NUM_CLASSES:
        raise ValueError(f"{file}: expected a heading and {NUM_CLASSES} classes, found {len(names)}.")
    return tuple(names)

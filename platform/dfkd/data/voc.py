"""Pascal VOC: masks as palette images, boxes as XML, splits as lists of names. The folder is VOC2012 or VOC2007."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from numpy.typing import NDArray

from dfkd.data.annotated import (
    AnnotatedSource,
    BoxedImages,
    Boxes,
    MaskedImages,
    decode_boxes,
    decode_masks,
)
from dfkd.data.annotation_files import choose_split, dataset_folder, open_image, read_class_mask, require
from dfkd.settings.checks import did_you_mean
from dfkd.settings.tasks.dense import AnnotatedImagesSettings

OBJECTS = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
SPLITS = {"train": "train", "test": "val"}  # the annotations of the official test images are not public


def load_voc_masks(settings: AnnotatedImagesSettings, split: str) -> MaskedImages:
    """Return images and masks of 21 classes, the background first; 255 is the border between objects.

    Source: Everingham et al., The Pascal Visual Object Classes Challenge, IJCV 2010.
    """
    folder = dataset_folder(settings)
    names = _names(settings, "Segmentation", split)

    def read(index: int) -> NDArray[Any]:
        return read_class_mask(open_image(mask_of(index)))

    def mask_of(index: int) -> Path:
        return folder / "SegmentationClass" / f"{names[index]}.png"

    return decode_masks(_source(folder, names, read, mask_of), settings, ("background", *OBJECTS))


def load_voc_boxes(settings: AnnotatedImagesSettings, split: str) -> BoxedImages:
    """Return images and boxes of 20 classes. Objects marked as difficult are left out.

    Deviation: VOC's own score knows them and counts them neither way; here finding one counts as a mistake.
    """
    folder = dataset_folder(settings)
    names = _names(settings, "Main", split)

    def annotation_of(index: int) -> Path:
        return folder / "Annotations" / f"{names[index]}.xml"

    source = _source(folder, names, lambda index: _read_boxes(annotation_of(index)), annotation_of)
    return decode_boxes(source, settings, OBJECTS)


def _names(settings: AnnotatedImagesSettings, kind: str, split: str) -> list[str]:
    own = choose_split(settings, split, SPLITS)
    file = require(dataset_folder(settings) / "ImageSets" / kind / f"{own}.txt", settings)
    names = [line.split()[0] for line in file.read_text().splitlines() if line.strip()]
    if not names:
        raise ValueError(f"{file}: expected the names of images, one a line, found none.")
    return names


def _source(folder: Path, names: list[str], read: Any, target_of: Any) -> AnnotatedSource[Any]:
    def image_of(index: int) -> Path:
        return folder / "JPEGImages" / f"{names[index]}.jpg"

    return AnnotatedSource(
        num_images=len(names),
        open_image=lambda index: open_image(image_of(index)),
        read_target=read,
        describe_target=lambda index: str(target_of(index)),
        describe_image=lambda index: str(image_of(index)),
    )


def _read_boxes(file: Path) -> Boxes:
    try:
        root = ElementTree.fromstring(file.read_bytes())
    except ElementTree.ParseError as error:
        raise ValueError(f"this XML is damaged ({error}).") from error
    corners, labels = [], []
    for number, found in enumerate(root.findall("object")):
        if found.findtext("difficult", "0").strip() == "1":
            continue
        name = (found.findtext("name") or "").strip()
        if name not in OBJECTS:
            raise ValueError(f"object {number}: '{name}' is none of VOC's classes.{did_you_mean(name, OBJECTS)}")
        try:
            left, top, right, bottom = (
                float(found.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax")
            )
        except ValueError as error:
            raise ValueError(f"object {number}: expected numbers xmin, ymin, xmax, ymax in bndbox ({error}).") from None
        corners.append((left - 1, top - 1, right, bottom))  # VOC counts pixels from 1 and includes the last one
        labels.append(OBJECTS.index(name))
    return Boxes(corners, labels)

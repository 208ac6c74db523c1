"""COCO's detection format: ``annotations/instances_<split>2017.json`` beside the folders of the images."""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

from dfkd.data.annotated import AnnotatedSource, BoxedImages, Boxes, decode_boxes
from dfkd.data.annotation_files import choose_split, dataset_folder, open_image, require
from dfkd.settings.tasks.dense import AnnotatedImagesSettings

SPLITS = {"train": "train2017", "test": "val2017"}  # the annotations of the official test images are not public


def load_coco_boxes(settings: AnnotatedImagesSettings, split: str) -> BoxedImages:
    """Return images and boxes; the classes are those of the file, in the order of their ids.

    Boxes of crowds are left out, and those without an area, of which the official files have a few, with a warning.

    Source: Lin et al., Microsoft COCO, ECCV 2014.
    """
    folder, own = dataset_folder(settings), choose_split(settings, split, SPLITS)
    file = require(folder / "annotations" / f"instances_{own}.json", settings)
    content = _read(file)
    names = {category["id"]: str(category["name"]) for category in content["categories"]}
    order = {category: label for label, category in enumerate(sorted(names))}
    images = content["images"]
    boxes = _boxes_by_image(file, content["annotations"], order, {image["id"] for image in images})

    def path_of(index: int) -> Path:
        return folder / own / str(images[index]["file_name"])

    source = AnnotatedSource(
        num_images=len(images),
        open_image=lambda index: open_image(path_of(index)),
        read_target=lambda index: boxes[images[index]["id"]],
        describe_target=lambda index: f"{file}, image {images[index]['id']}",
        describe_image=lambda index: str(path_of(index)),
    )
    return decode_boxes(source, settings, tuple(names[category] for category in sorted(names)))


def _read(file: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the file's three lists, their entries known to have what is needed."""
    try:
        content: dict[str, list[dict[str, Any]]] = json.loads(file.read_bytes())
        needed = {
            "images": ("id", "file_name"),
            "categories": ("id", "name"),
            "annotations": ("id", "image_id", "category_id", "bbox"),
        }
        for part, keys in needed.items():
            for number, entry in enumerate(content[part]):
                missing = [key for key in keys if key not in entry]
                if missing:
                    raise ValueError(f"entry {number} of '{part}' has no '{missing[0]}'")
        if not content["images"]:
            raise ValueError("it lists no image")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: this annotation file is damaged: {error}.") from error
    return content


def _boxes_by_image(
    file: Path, annotations: list[dict[str, Any]], order: dict[int, int], image_ids: set[int]
) -> dict[int, Boxes]:
    corners: dict[int, list[tuple[float, ...]]] = defaultdict(list)
    labels: dict[int, list[int]] = defaultdict(list)
    flat = 0
    for annotation in annotations:
        where = f"{file}, annotation {annotation['id']}"
        if annotation["category_id"] not in order or annotation["image_id"] not in image_ids:
            raise ValueError(f"{where}: its category_id or image_id is none that the file lists.")
        try:
            left, top, width, height = (float(value) for value in annotation["bbox"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where}: expected bbox [x, y, width, height], got {annotation['bbox']!r}.") from error
        if annotation.get("iscrowd"):
            continue
        if not (width > 0 and height > 0):
            flat += 1
            continue
        corners[annotation["image_id"]].append((left, top, left + width, top + height))
        labels[annotation["image_id"]].append(order[annotation["category_id"]])
    if flat:
        warnings.warn(f"{file}: {flat} boxes without an area are left out.", stacklevel=3)
    return {image: Boxes(corners[image], labels[image]) for image in image_ids}

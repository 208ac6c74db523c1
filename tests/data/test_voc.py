from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfkd.data.voc import OBJECTS, load_voc_boxes, load_voc_masks
from dfkd.settings.tasks.dense import AnnotatedImagesSettings

BOX = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"


def described(name: str, corners: tuple[int, int, int, int], difficult: int = 0) -> str:
    return f"<object><name>{name}</name><difficult>{difficult}</difficult>{BOX.format(*corners)}</object>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """VOC2012 with one training image of 12x8 pixels, a palette mask and two objects."""
    for name in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Main", "ImageSets/Segmentation"):
        (tmp_path / name).mkdir(parents=True)
    Image.new("RGB", (12, 8), (9, 9, 9)).save(tmp_path / "JPEGImages" / "2007_000032.jpg")
    values = np.zeros((8, 12), dtype=np.uint8)
    values[2:4], values[4] = 15, 255
    mask = Image.fromarray(values).convert("P")
    mask.putdata(values.flatten().tolist())
    mask.putpalette([level for index in range(256) for level in (index, 255 - index, 7)])
    mask.save(tmp_path / "SegmentationClass" / "2007_000032.png")
    objects = described("person", (1, 1, 12, 8)) + described("dog", (3, 2, 5, 4)) + described("cat", (1, 1, 2, 2), 1)
    write_annotation(tmp_path, f"<annotation>{objects}</annotation>")
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("2007_000032\n")
    (tmp_path / "ImageSets/Main/train.txt").write_text("2007_000032  1\n\n")
    return tmp_path


def write_annotation(folder: Path, text: str) -> None:
    (folder / "Annotations" / "2007_000032.xml").write_text(text)


def settings(folder: Path) -> AnnotatedImagesSettings:
    return AnnotatedImagesSettings(name="voc", path=str(folder))


def test_masks_are_class_numbers_whatever_the_palette(folder: Path) -> None:
    found = load_voc_masks(settings(folder), "train")
    assert found.class_names[15] == "person" and len(found.class_names) == 21
    assert found.images.shape == (1, 3, 8, 12)
    assert found.masks[0, :, 0].tolist() == [0, 0, 15, 15, 255, 0, 0, 0]


def test_boxes_count_pixels_from_0_and_end_after_the_last_one(folder: Path) -> None:
    found = load_voc_boxes(settings(folder), "train")
    assert found.boxes[0].tolist() == [[0, 0, 12, 8], [2, 1, 5, 4]]  # the difficult one is left out
    assert [OBJECTS[label] for label in found.labels[0].tolist()] == ["person", "dog"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object>", "2007_000032.xml: this XML is damaged"),
        (f"<annotation>{described('catt', (1, 1, 2, 2))}</annotation>", "object 0: 'catt' is none.*Did you mean 'cat'"),
        ("<annotation><object><name>cat</name></object></annotation>", "object 0: expected numbers xmin"),
        (f"<annotation>{described('cat', (1, 1, 20, 2))}</annotation>", "xml, box 0: .*lies outside of its image"),
    ],
)
def test_a_damaged_annotation_is_named(folder: Path, text: str, message: str) -> None:
    write_annotation(folder, text)
    with pytest.raises(ValueError, match=message):
        load_voc_boxes(settings(folder), "train")


def test_a_mask_with_colours_and_a_missing_one_are_named(folder: Path) -> None:
    file = folder / "SegmentationClass" / "2007_000032.png"
    Image.new("RGB", (12, 8)).save(file)
    with pytest.raises(ValueError, match="2007_000032.png: expected a mask with one class number a pixel.*mode RGB"):
        load_voc_masks(settings(folder), "train")
    file.write_bytes(b"\x89PNG\r\n\x1a\nno more")
    with pytest.raises(ValueError, match="2007_000032.png: "):
        load_voc_masks(settings(folder), "train")
    file.unlink()
    with pytest.raises(ValueError, match="2007_000032.png: .*No such file"):
        load_voc_masks(settings(folder), "train")


def test_lists_that_are_empty_or_missing_are_named(folder: Path) -> None:
    (folder / "ImageSets/Main/train.txt").write_text("\n")
    with pytest.raises(ValueError, match="train.txt: expected the names of images"):
        load_voc_boxes(settings(folder), "train")
    with pytest.raises(ValueError, match=r"'voc' expected .*ImageSets/Segmentation/val.txt.*docs/transfer.md"):
        load_voc_masks(settings(folder), "test")

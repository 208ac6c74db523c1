import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfkd.data.coco import load_coco_boxes
from dfkd.settings.tasks.dense import AnnotatedImagesSettings

Png = Callable[..., bytes]


@pytest.fixture
def content() -> dict[str, Any]:
    """Two images of 12x8 pixels; category ids with gaps and out of order, as COCO's are."""
    return {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 3, "file_name": "b.png"}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [
            {"id": 100, "image_id": 7, "category_id": 18, "bbox": [1, 2, 3, 4]},
            {"id": 101, "image_id": 7, "category_id": 2, "bbox": [0, 0, 12, 8]},
            {"id": 102, "image_id": 7, "category_id": 2, "bbox": [0, 0, 12, 8], "iscrowd": 1},
        ],
    }


@pytest.fixture
def write(tmp_path: Path, png: Png) -> Callable[[Any], AnnotatedImagesSettings]:
    """Write an annotation file beside its images; text as it is."""

    def write_content(content: Any) -> AnnotatedImagesSettings:
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "train2017").mkdir(exist_ok=True)
        for seed, name in enumerate("ab"):
            (tmp_path / "train2017" / f"{name}.png").write_bytes(png(seed, size=(12, 8)))
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "annotations" / "instances_train2017.json").write_text(text)
        return AnnotatedImagesSettings(name="coco", path=str(tmp_path))

    return write_content


def test_boxes_become_corners_and_classes_follow_the_ids(write: Any, content: dict[str, Any]) -> None:
    found = load_coco_boxes(write(content), "train")
    assert found.class_names == ("cat", "dog")
    assert found.images.shape == (2, 3, 8, 12)
    assert found.boxes[0].tolist() == [[1, 2, 4, 6], [0, 0, 12, 8]]  # the crowd is left out
    assert found.labels[0].tolist() == [1, 0]
    assert found.boxes[1].shape == (0, 4)


def test_boxes_without_an_area_are_left_out_with_a_warning(write: Any, content: dict[str, Any]) -> None:
    content["annotations"][0]["bbox"] = [1, 2, 0, 4]
    with pytest.warns(UserWarning, match="1 boxes without an area"):
        assert len(load_coco_boxes(write(content), "train").boxes[0]) == 1


def test_a_box_outside_of_its_image_is_named_with_file_and_image(write: Any, content: dict[str, Any]) -> None:
    content["annotations"][0]["bbox"] = [10, 2, 5, 4]
    with pytest.raises(ValueError, match=r"instances_train2017.json, image 7, box 0: \[10, 2, 15, 6\].*outside"):
        load_coco_boxes(write(content), "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [', "instances_train2017.json: this annotation file is damaged: Expecting"),
        ("[1, 2]", "is damaged"),
        ('{"images": []}', "is damaged: 'categories'"),
        ('{"images": [], "categories": [], "annotations": []}', "is damaged: it lists no image"),
        ('{"images": [{"id": 1}], "categories": [], "annotations": []}', "entry 0 of 'images' has no 'file_name'"),
    ],
)
def test_a_damaged_file_is_named(write: Any, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_coco_boxes(write(text), "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"category_id": 1}, "annotation 100: its category_id or image_id is none that the file lists"),
        ({"image_id": 8}, "annotation 100: its category_id or image_id"),
        ({"bbox": [1, 2, 3]}, r"annotation 100: expected bbox \[x, y, width, height\], got \[1, 2, 3\]"),
        ({"bbox": "all"}, "annotation 100: expected bbox"),
    ],
)
def test_a_record_that_cannot_be_is_named(
    write: Any, content: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    content["annotations"][0] |= change
    with pytest.raises(ValueError, match=message):
        load_coco_boxes(write(content), "train")


def test_what_is_not_there_is_said(write: Any, content: dict[str, Any]) -> None:
    settings = write(content)
    with pytest.raises(ValueError, match="'coco' expected .*instances_val2017.json, which does not exist"):
        load_coco_boxes(settings, "test")
    with pytest.raises(ValueError, match="--split: 'coco' has no validation images; it has train, test"):
        load_coco_boxes(settings, "validation")
    (Path(str(settings.path)) / "train2017" / "b.png").unlink()
    with pytest.raises(ValueError, match=r"train2017/b.png: the image does not decode"):
        load_coco_boxes(settings, "train")

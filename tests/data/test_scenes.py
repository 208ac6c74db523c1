from typing import Any

import pytest
import torch

from dfkd.data.annotated import IGNORED
from dfkd.data.scenes import FARTHEST, SHAPES, draw_scenes, load_scene_boxes, load_scene_depths
from dfkd.settings.tasks.dense import AnnotatedImagesSettings


def settings(**values: Any) -> AnnotatedImagesSettings:
    return AnnotatedImagesSettings(**({"name": "scenes", "image_size": (32, 48), "max_images": 12} | values))


def test_scenes_depend_on_seed_and_split_alone() -> None:
    first, again = draw_scenes(settings(), "train"), draw_scenes(settings(), "train")
    assert torch.equal(first.images, again.images) and torch.equal(first.depths, again.depths)
    others = [draw_scenes(settings(), "test"), draw_scenes(settings(seed=1), "train")]
    assert all(not torch.equal(first.images, other.images) for other in others)


def test_boxes_are_tight_and_masks_and_depths_agree_with_them() -> None:
    scenes = draw_scenes(settings(max_images=40), "train")
    assert torch.equal(scenes.masks == IGNORED, scenes.depths == FARTHEST)
    for mask, depth, boxes, labels in zip(scenes.masks, scenes.depths, scenes.boxes, scenes.labels, strict=True):
        distances = depth.unique()
        assert len(boxes) == len(labels) == len(distances) - 1  # each shape has its distance, and the wall
        expected = set()
        for distance in distances[distances < FARTHEST]:
            rows, columns = (depth == distance).nonzero(as_tuple=True)
            (kind,) = mask[depth == distance].unique().tolist()
            expected.add((kind, *(int(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))))
        found = zip(labels.tolist(), boxes.tolist(), strict=True)
        assert {(label, *(int(side) for side in box)) for label, box in found} == expected


def test_every_shape_occurs_and_nearer_shapes_hide_others() -> None:
    scenes = draw_scenes(settings(max_images=40), "train")
    assert set(torch.cat(scenes.labels).tolist()) == set(range(len(SHAPES)))
    assert max(len(boxes) for boxes in scenes.boxes) > 1


def test_grey_scenes_and_default_sizes() -> None:
    assert draw_scenes(settings(channels=1), "validation").images.shape == (12, 1, 32, 48)
    found = load_scene_boxes(settings(image_size=None, max_images=2), "test")
    assert found.images.shape == (2, 3, 64, 64)
    assert found.class_names == SHAPES
    assert load_scene_depths(settings(), "train").depths.shape == (12, 32, 48)


def test_a_split_that_is_not_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="--split: scenes have no exam images; they have train, validation, test"):
        draw_scenes(settings(), "exam")

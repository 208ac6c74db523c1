"""What all formats of annotated images promise: targets follow their images, and what does not fit is named."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dfkd.data.annotated import (
    AnnotatedSource,
    Boxes,
    decode_boxes,
    decode_depths,
    decode_masks,
)
from dfkd.settings.tasks.dense import AnnotatedImagesSettings

NAMES = ("road", "sky", "car")


def settings(**values: Any) -> AnnotatedImagesSettings:
    return AnnotatedImagesSettings(**({"name": "voc", "path": "unused", "image_size": (8, 12)} | values))


def source(*targets: Any, size: tuple[int, int] = (12, 8)) -> AnnotatedSource[Any]:
    """Grey images of ``size`` (width, height), image i of level i."""
    return AnnotatedSource(
        num_images=len(targets),
        open_image=lambda index: Image.new("RGB", size, (index, index, index)),
        read_target=lambda index: targets[index],
        describe_target=lambda index: f"target {index}",
        describe_image=lambda index: f"image {index}",
    )


def mask(value: int = 0, size: tuple[int, int] = (12, 8)) -> Any:
    return np.full(size[::-1], value, dtype=np.uint8)


def test_a_mask_belongs_to_its_image_and_255_stays() -> None:
    first, second = mask(1), mask(2)
    second[3, 5] = 255
    found = decode_masks(source(first, second), settings(), NAMES)
    assert found.images.shape == (2, 3, 8, 12)
    assert found.images[:, 0, 0, 0].tolist() == [0, 1]
    assert torch.equal(found.masks[0], torch.from_numpy(first))
    assert torch.equal(found.masks[1], torch.from_numpy(second))
    assert found.class_names == NAMES


def test_a_mask_is_resized_without_new_values() -> None:
    halves = mask(0, size=(24, 16))
    halves[:, 12:] = 2
    found = decode_masks(source(halves, size=(24, 16)), settings(), NAMES)
    assert found.masks[0].unique().tolist() == [0, 2]
    assert (found.masks[0, :, :6] == 0).all() and (found.masks[0, :, 6:] == 2).all()


def test_the_size_is_the_first_images_unless_given_and_max_images_cuts() -> None:
    found = decode_masks(source(mask(), mask(), mask()), settings(image_size=None, max_images=2, channels=1), NAMES)
    assert found.images.shape == (2, 1, 8, 12)
    assert len(found.masks) == 2


def test_a_mask_of_another_size_is_named_with_its_image() -> None:
    with pytest.raises(ValueError, match=r"target 1: expected a mask of 12 x 8 pixels.*\(image 1\).*\[12, 8\]"):
        decode_masks(source(mask(), mask(size=(8, 12))), settings(), NAMES)


def test_a_value_that_is_no_class_is_named() -> None:
    wrong = mask()
    wrong[0, 0] = 3
    with pytest.raises(ValueError, match=r"target 0: the mask has the value 3, and there are 3 classes \(0 to 2;"):
        decode_masks(source(wrong), settings(), NAMES)


def test_an_image_that_does_not_open_is_named() -> None:
    def refuse(index: int) -> Image.Image:
        raise OSError("cannot identify image file")

    broken = source(mask())
    for size in ((8, 12), None):
        with pytest.raises(ValueError, match="image 0: the image does not decode"):
            decode_masks(
                AnnotatedSource(1, refuse, broken.read_target, broken.describe_target, broken.describe_image),
                settings(image_size=size),
                NAMES,
            )


def test_depths_are_metres_and_what_is_not_finite_is_unknown() -> None:
    depth = np.full((8, 12), 2.5)
    depth[0, 0], depth[1, 1] = np.nan, np.inf
    found = decode_depths(source(depth), settings())
    assert found.depths.dtype == torch.float32
    assert found.depths[0, 0, 0] == 0 and found.depths[0, 1, 1] == 0
    assert found.depths[0, 2:].unique().tolist() == [2.5]


def test_a_negative_depth_and_a_depth_map_of_another_size_are_named() -> None:
    with pytest.raises(ValueError, match="target 0: a depth of -1 m is negative"):
        decode_depths(source(np.full((8, 12), -1.0)), settings())
    with pytest.raises(ValueError, match="target 0: expected a depth map of 12 x 8 pixels"):
        decode_depths(source(np.ones((8, 8))), settings())


def test_boxes_are_scaled_as_their_image_is() -> None:
    found = decode_boxes(source(Boxes([(0, 4, 12, 16)], [2]), Boxes([], []), size=(24, 16)), settings(), NAMES)
    assert found.boxes[0].tolist() == [[0, 2, 6, 8]]  # half the size
    assert found.labels[0].tolist() == [2]
    assert found.boxes[1].shape == (0, 4)
    assert found.labels[1].dtype == torch.int64


def test_a_box_that_rounding_put_outside_is_cut_and_others_are_named() -> None:
    found = decode_boxes(source(Boxes([(-0.5, 0, 12.5, 8)], [0])), settings(), NAMES)
    assert found.boxes[0].tolist() == [[0, 0, 12, 8]]
    outside = Boxes([(0, 0, 1, 1), (4, 4, 14, 6)], [0, 0])
    with pytest.raises(ValueError, match=r"target 0, box 1: \[4, 4, 14, 6\].*lies outside of its image of 12 x 8"):
        decode_boxes(source(outside), settings(), NAMES)
    with pytest.raises(ValueError, match=r"target 0, box 0: \[4, 4, 4, 6\].*has no area"):
        decode_boxes(source(Boxes([(4, 4, 4, 6)], [0])), settings(), NAMES)

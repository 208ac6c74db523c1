import pytest
import torch

from dfkd.data.image_set import ImageSet


def test_image_set_knows_its_length_and_image_shape() -> None:
    images = ImageSet(torch.zeros(4, 3, 5, 6, dtype=torch.uint8), torch.tensor([0, 1, 1, 0]))
    assert len(images) == 4
    assert images.image_shape == (3, 5, 6)


def test_select_keeps_images_with_their_labels() -> None:
    pixels = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1)
    selected = ImageSet(pixels, torch.tensor([5, 6, 7, 8])).select(torch.tensor([3, 1]))
    assert selected.images.flatten().tolist() == [3, 1]
    assert selected.labels.tolist() == [8, 6]


def test_images_without_labels_say_so() -> None:
    images = ImageSet(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), None)
    assert images.select(torch.tensor([0])).labels is None
    with pytest.raises(ValueError, match="labels: these images have none"):
        images.require_labels()


def test_fingerprint_changes_with_any_pixel_label_or_shape_and_with_nothing_else() -> None:
    pixels, labels = torch.arange(32, dtype=torch.uint8).view(2, 1, 4, 4), torch.tensor([0, 1])
    fingerprint = ImageSet(pixels, labels).fingerprint()
    apart = torch.empty(2, 4, 4, 1, dtype=torch.uint8).permute(0, 3, 1, 2).copy_(pixels)  # in another memory layout
    assert ImageSet(apart, labels.clone()).fingerprint() == fingerprint
    other = pixels.clone()
    other[1, 0, 3, 3] = 0
    others = [
        ImageSet(other, labels),
        ImageSet(pixels, torch.tensor([1, 0])),
        ImageSet(pixels, None),
        ImageSet(pixels.view(2, 1, 2, 8), labels),
        ImageSet(pixels.flip(0), labels),
    ]
    assert len({fingerprint, *(images.fingerprint() for images in others)}) == 6


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64), "expected uint8"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), r"shape \[N, C, H, W\]"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), "one label an image"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2), "expected int64"),
        (torch.zeros(0, 1, 4, 4, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64), "at least one image"),
        (torch.zeros(1, 1, 4, 4, dtype=torch.uint8), torch.tensor([-1]), "from 0, got -1"),
    ],
)
def test_image_set_refuses_what_is_no_image_set(images: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageSet(images, labels)

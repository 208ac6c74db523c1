from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd.data.annotated import BoxedImages
from dfkd.data.annotated_data import BOXES
from dfkd.settings.tasks import DetectionSettings
from dfkd.settings.tasks.dense import AnnotatedImagesSettings
from dfkd.tasks.detection import build_detector, detection, mirror_boxes, score_boxes
from dfkd.tasks.transfer import TransferInput

Given = Callable[..., TransferInput]
SCENES = AnnotatedImagesSettings(name="scenes", image_size=(32, 32), max_images=8)
IMAGES = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)


def settings(**values: Any) -> DetectionSettings:
    return DetectionSettings(**({"dataset": SCENES, "epochs": 2, "batch_size": 4, "width": 32} | values))


def boxed(*boxes: list[list[float]], labels: list[list[int]] | None = None) -> BoxedImages:
    corners = tuple(torch.tensor(found).view(-1, 4) for found in boxes)
    kinds = labels or [[0] * len(found) for found in boxes]
    return BoxedImages(IMAGES, corners, tuple(torch.tensor(kind, dtype=torch.int64) for kind in kinds), ("a", "b"))


class Known(nn.Module):
    """A detector whose answers are known, one image after the other."""

    def __init__(self, answers: BoxedImages) -> None:
        super().__init__()
        self.answers = [
            {"boxes": boxes, "labels": labels, "scores": torch.linspace(0.9, 0.8, len(boxes))}
            for boxes, labels in zip(answers.boxes, answers.labels, strict=True)
        ]

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        return [self.answers.pop(0) for _ in images]


def test_the_truth_scores_1_whatever_the_batches(given: Given) -> None:
    truth = boxed([[2, 2, 12, 12], [14, 4, 30, 20]], [[0, 0, 9, 9]])
    for size in (1, 2):
        assert score_boxes(Known(truth), truth, settings(batch_size=size), given()) == {"map": 1.0, "map_50": 1.0}


def test_boxes_that_overlap_by_six_tenths_count_at_an_iou_of_half(given: Given) -> None:
    truth, found = boxed([[0, 0, 10, 10]], [[0, 0, 10, 10]]), boxed([[0, 0, 6.2, 10]], [[0, 0, 6.2, 10]])
    scores = score_boxes(Known(found), truth, settings(), given())
    assert scores["map_50"] == 1.0
    assert scores["map"] == pytest.approx(3 / 10)  # at 0.5, 0.55 and 0.6 of ten thresholds up to 0.95


def test_boxes_of_another_class_count_nothing(given: Given) -> None:
    truth = boxed([[0, 0, 10, 10]], [[0, 0, 10, 10]])
    found = boxed([[0, 0, 10, 10]], [[0, 0, 10, 10]], labels=[[1], [1]])
    assert score_boxes(Known(found), truth, settings(), given())["map_50"] == 0.0


def test_boxes_are_mirrored_with_their_images() -> None:
    images = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1).repeat(1, 1, 1, 10)
    images[:, :, :, :2] += 100  # a mark at the left
    boxes = [torch.tensor([[0.0, 1.0, 2.0, 3.0]])] * 40
    mirrored, swapped = mirror_boxes(images, boxes, torch.Generator().manual_seed(0))
    flips = [bool(image[0, 0, 9] >= 100) for image in mirrored]
    assert 8 < sum(flips) < 32
    for flip, found in zip(flips, swapped, strict=True):
        assert found.tolist() == ([[8, 1, 10, 3]] if flip else [[0, 1, 2, 3]])


def test_a_detector_is_trained_on_a_copy(given: Given, unchanged: Callable[[nn.Module], Callable[[], bool]]) -> None:
    network = given()
    is_unchanged = unchanged(network.network.model)
    scores = detection(settings(score_threshold=0.0), network)
    assert set(scores) == {"map", "map_50"}
    assert 0 <= scores["map"] <= scores["map_50"] <= 1
    assert is_unchanged()


def test_a_detector_learns_where_shapes_are(given: Given) -> None:
    scenes = BOXES["scenes"](SCENES, "train")
    detector, pyramid = build_detector(given(), scenes, settings())
    optimizer = torch.optim.SGD(
        [{"params": list(parameters), "lr": rate} for parameters, rate in pyramid.groups(detector, settings())],
        lr=0.01,
        momentum=0.9,
    )
    targets = [{"boxes": b, "labels": k} for b, k in zip(scenes.boxes, scenes.labels, strict=True)]
    totals = []
    for _ in range(12):
        total = torch.stack(list(detector.train()(list(scenes.images.float() / 255), targets).values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.8 * totals[0]


def test_boxes_that_cannot_be_learnt_are_named(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    def splits(train: BoxedImages, test: BoxedImages) -> None:
        monkeypatch.setitem(BOXES, "scenes", lambda _, split: train if split == "train" else test)

    splits(boxed([], []), boxed([], []))
    with pytest.raises(ValueError, match="dataset: no training image has a box"):
        detection(settings(), given())
    box = [[0.0, 0.0, 9.0, 9.0]]
    splits(boxed(box, box), boxed(box, box, labels=[[0], [1]]))
    with pytest.raises(ValueError, match="dataset: 'b' has boxes in test and none in train"):
        detection(settings(), given())

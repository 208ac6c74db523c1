"""Object detection with a light head: boxes and their classes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from dfkd.data.annotated import BoxedImages
from dfkd.data.annotated_data import BOXES
from dfkd.settings.tasks import DetectionSettings
from dfkd.tasks.fitting import Batches, fit
from dfkd.tasks.metrics import mean_average_precision
from dfkd.tasks.protocol import evaluation_mode
from dfkd.tasks.pyramid import Pyramid
from dfkd.tasks.transfer import TransferInput


class Levels(nn.Module):
    """A pyramid as torchvision's detectors want it: named levels, and the width of them."""

    def __init__(self, pyramid: Pyramid) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.out_channels = pyramid.out_channels

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Map normalised images [B, C, H, W] to maps [B, D, h, w] by name, finest first."""
        return OrderedDict((str(level), maps) for level, maps in enumerate(self.pyramid(images)))


def detection(settings: DetectionSettings, given: TransferInput) -> dict[str, float]:
    """Return mean average precision after the last epoch: over IoU 0.5 to 0.95, and at IoU 0.5."""
    load = BOXES[settings.dataset.name]
    train, exam = load(settings.dataset, "train"), load(settings.dataset, given.exam)
    _check(train, exam, given)
    detector, pyramid = build_detector(given, train, settings)
    images = train.images.to(given.device)
    boxes = [found.to(given.device) for found in train.boxes]
    labels = [found.to(given.device) for found in train.labels]

    def loss(rows: Tensor, random: torch.Generator) -> Tensor:
        pixels, chosen = images[rows], [boxes[row] for row in rows.tolist()]
        if settings.dataset.horizontal_flip:
            pixels, chosen = mirror_boxes(pixels, chosen, random)
        targets = [{"boxes": b, "labels": labels[row]} for b, row in zip(chosen, rows.tolist(), strict=True)]
        losses = detector(list(pixels.float() / 255), targets)
        return torch.stack(list(losses.values())).sum()

    fit(
        detector,
        pyramid.groups(detector, settings),
        settings,
        batches=Batches(num_examples=len(images), batch_size=settings.batch_size),
        loss=loss,
        random=given.generator(),
        progress=given.progress,
        where="detection",
    )
    return score_boxes(detector, exam, settings, given)


def build_detector(given: TransferInput, train: BoxedImages, settings: DetectionSettings) -> tuple[nn.Module, Pyramid]:
    """Return a new detector on a copy of the network, on the device, and the pyramid inside it."""
    from torchvision.models.detection import FCOS
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.fcos import FCOSHead

    channels, height, width = train.images.shape[1:]
    backbone, num_classes = given.backbone(), len(train.class_names)
    built: list[Pyramid] = []

    def build() -> nn.Module:
        pyramid = Pyramid(backbone, (channels, height, width), settings)
        built.append(pyramid)
        strides = [round(height / level_height) for level_height, _ in pyramid.sizes]
        detector: nn.Module = FCOS(
            Levels(pyramid),
            num_classes=num_classes,
            head=FCOSHead(settings.width, 1, num_classes, settings.num_convolutions),
            anchor_generator=AnchorGenerator(tuple((stride,) for stride in strides), ((1.0,),) * len(strides)),
            min_size=min(height, width),  # images have one size already: nothing is resized or padded
            max_size=max(height, width),
            size_divisible=1,
            image_mean=list(given.network.mean),
            image_std=list(given.network.std),
            score_thresh=settings.score_threshold,
            detections_per_img=settings.max_detections,
        )
        return detector

    detector = given.seeded(build)
    return detector.to(memory_format=torch.channels_last), built[0]


def mirror_boxes(images: Tensor, boxes: list[Tensor], random: torch.Generator) -> tuple[Tensor, list[Tensor]]:
    """Mirror half of the images [B, C, H, W] at random, with their boxes [n, 4] in pixels."""
    width = images.shape[3]
    chosen = torch.rand(len(images), generator=random, device=random.device) < 0.5
    mirrored = torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)
    swapped = [
        torch.stack([width - found[:, 2], found[:, 1], width - found[:, 0], found[:, 3]], dim=1) if flip else found
        for found, flip in zip(boxes, chosen.tolist(), strict=True)
    ]
    return mirrored, swapped


def score_boxes(
    detector: nn.Module, exam: BoxedImages, settings: DetectionSettings, given: TransferInput
) -> dict[str, float]:
    """Return the scores of a trained detector."""
    metric = mean_average_precision(settings.max_detections)
    with evaluation_mode(detector), torch.inference_mode():
        for rows in torch.arange(len(exam.images)).split(settings.batch_size):
            images = list(exam.images[rows].to(given.device).float() / 255)
            found: list[dict[str, Any]] = detector(images)
            metric.update(
                [{key: value.cpu() for key, value in answer.items()} for answer in found],
                [{"boxes": exam.boxes[row], "labels": exam.labels[row]} for row in rows.tolist()],
            )
    scores = metric.compute()
    return {"map": float(scores["map"]), "map_50": float(scores["map_50"])}


def _check(train: BoxedImages, exam: BoxedImages, given: TransferInput) -> None:
    given.check_channels(train.images, "the images with boxes")
    if train.class_names != exam.class_names:
        raise ValueError(f"dataset: train has the classes {train.class_names}, {given.exam} has {exam.class_names}.")
    known = set(torch.cat(train.labels).tolist())
    if not known:
        raise ValueError("dataset: no training image has a box.")
    for label in sorted(set(torch.cat(exam.labels).tolist())):
        if label not in known:
            raise ValueError(
                f"dataset: '{exam.class_names[label]}' has boxes in {given.exam} and none in train, so it cannot be "
                "learnt. Take more training images (dataset.max_images)."
            )

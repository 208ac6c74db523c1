"""Semantic segmentation with a light head: a class for every pixel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dfkd.data.annotated import IGNORED, MaskedImages
from dfkd.data.annotated_data import MASKS
from dfkd.settings.tasks import SegmentationSettings
from dfkd.tasks.fitting import Batches, fit
from dfkd.tasks.metrics import import_torchmetrics
from dfkd.tasks.protocol import evaluation_mode
from dfkd.tasks.pyramid import DenseHead, build_dense_head, mirror
from dfkd.tasks.transfer import TransferInput


def segmentation(settings: SegmentationSettings, given: TransferInput) -> dict[str, float]:
    """Return mean intersection over union and pixel accuracy, both in [0, 1], after the last epoch.

    The mean is over the classes that the exam's masks or the answers have, at the size of the images in memory.
    """
    load = MASKS[settings.dataset.name]
    train, exam = load(settings.dataset, "train"), load(settings.dataset, given.exam)
    _check(train, exam, given)
    head = build_dense_head(given, train.images, settings, len(train.class_names))
    images, masks = train.images.to(given.device), train.masks.to(given.device)

    def loss(rows: Tensor, random: torch.Generator) -> Tensor:
        pixels, wanted = images[rows], masks[rows]
        if settings.dataset.horizontal_flip:
            pixels, wanted = mirror((pixels, wanted), random)
        return cross_entropy(head(given.normalise(pixels)), wanted.long(), ignore_index=IGNORED)

    fit(
        head,
        head.pyramid.groups(head, settings),
        settings,
        batches=Batches(num_examples=len(images), batch_size=settings.batch_size),
        loss=loss,
        random=given.generator(),
        progress=given.progress,
        where="segmentation",
    )
    return score_masks(head, exam, settings, given)


def score_masks(
    head: DenseHead, exam: MaskedImages, settings: SegmentationSettings, given: TransferInput
) -> dict[str, float]:
    """Return the scores of a trained head."""
    metrics = import_torchmetrics()
    num_classes = len(exam.class_names)
    overlap = metrics.JaccardIndex(task="multiclass", num_classes=num_classes, ignore_index=IGNORED)
    accuracy = metrics.Accuracy(task="multiclass", num_classes=num_classes, ignore_index=IGNORED, average="micro")
    with evaluation_mode(head), torch.inference_mode():
        rows = torch.arange(len(exam.images)).split(settings.batch_size)
        for batch in rows:
            predicted = head(given.normalise(exam.images[batch].to(given.device))).argmax(dim=1).cpu()  # [B, H, W]
            overlap.update(predicted, exam.masks[batch].long())
            accuracy.update(predicted, exam.masks[batch].long())
    return {"mean_iou": float(overlap.compute()), "pixel_accuracy": float(accuracy.compute())}


def _check(train: MaskedImages, exam: MaskedImages, given: TransferInput) -> None:
    given.check_channels(train.images, "the masked images")
    if train.class_names != exam.class_names:
        raise ValueError(f"dataset: train has the classes {train.class_names}, {given.exam} has {exam.class_names}.")
    known = torch.zeros(256, dtype=torch.bool)
    known[train.masks.unique().long()] = True
    known[IGNORED] = True
    for value in exam.masks.unique().tolist():
        if not known[value]:
            raise ValueError(
                f"dataset: '{exam.class_names[value]}' stands in masks of {given.exam} and in none of train, so it "
                "cannot be learnt. Take more training images (dataset.max_images)."
            )

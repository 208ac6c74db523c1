"""A linear classifier on frozen features: how much of other classes can be read off them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dfkd.augmentation import augment
from dfkd.settings.tasks import LinearProbeSettings
from dfkd.tasks.accuracy import top1
from dfkd.tasks.features import predict_features, require_backbone
from dfkd.tasks.fitting import Batches, fit
from dfkd.tasks.labelled_data import LabelledData, load_labelled_data
from dfkd.tasks.transfer import TransferInput, width_of


def linear_probe(settings: LinearProbeSettings, given: TransferInput) -> dict[str, float]:
    """Return the top-1 accuracy of the last epoch's classifier. BatchNorm is in evaluation mode all the time."""
    data = load_labelled_data(settings.dataset, settings.classes, given)
    backbone = given.backbone()
    head = given.seeded(lambda: nn.Linear(width_of(backbone), len(data.class_names)))
    known, exam = (
        predict_features(backbone, images.images, normalise=given.network.normalise, device=given.device)
        for images in (data.train, data.exam)
    )
    scale = _standardiser(known, given.device) if settings.standardise else lambda features: features
    fixed = scale(known.to(given.device))
    augmented = _augmented_features(settings, given, data)
    labels = data.train.require_labels().to(given.device)

    def loss(rows: Tensor, random: torch.Generator) -> Tensor:
        features = scale(augmented(rows, random)) if settings.augment else fixed[rows]  # [B, D]
        return cross_entropy(head(features), labels[rows])

    fit(
        head,
        [(head.parameters(), settings.learning_rate)],
        settings,
        batches=Batches(num_examples=len(data.train), batch_size=settings.batch_size),
        loss=loss,
        random=given.generator(),
        progress=given.progress,
        where="linear_probe",
    )
    with torch.no_grad():
        logits = head(scale(exam.to(given.device))).cpu()
    return {"top1": top1(logits, data.exam.require_labels())}


def _standardiser(features: Tensor, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return what takes features [B, D] to mean 0 and deviation 1 over the training images; a constant one to 0."""
    mean, std = features.mean(dim=0).to(device), features.std(dim=0).clamp_min(1e-6).to(device)
    return lambda given: (given - mean) / std


def _augmented_features(
    settings: LinearProbeSettings, given: TransferInput, data: LabelledData
) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Return what computes the features [B, D] of rows [B] as their images are shifted and mirrored now."""
    network = given.backbone().eval()
    backbone = require_backbone(network, "model")
    images = data.train.images.to(given.device)

    @torch.no_grad()
    def features(rows: Tensor, random: torch.Generator) -> Tensor:
        pixels = augment(
            images[rows].float() / 255,
            crop_padding=settings.dataset.crop_padding,
            horizontal_flip=settings.dataset.horizontal_flip,
            generator=random,
        )
        return backbone.forward_features(given.network.normalise(pixels))

    return features

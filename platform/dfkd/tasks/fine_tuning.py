"""All layers go on training on another data set, under a new classifier."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dfkd.augmentation import augment
from dfkd.settings.tasks import FineTuningSettings
from dfkd.tasks.accuracy import top1
from dfkd.tasks.features import require_backbone
from dfkd.tasks.fitting import Batches, fit
from dfkd.tasks.labelled_data import load_labelled_data
from dfkd.tasks.protocol import predict_logits
from dfkd.tasks.transfer import TransferInput, width_of


class FineTuned(nn.Module):
    """A backbone's features under a new linear classifier."""

    def __init__(self, backbone: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(width_of(backbone), num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to logits [B, K]."""
        logits: Tensor = self.head(require_backbone(self.backbone, "model").forward_features(images))
        return logits


def fine_tuning(settings: FineTuningSettings, given: TransferInput) -> dict[str, float]:
    """Return the top-1 accuracy after the last epoch. The network itself stays as it was: a copy is trained."""
    data = load_labelled_data(settings.dataset, settings.classes, given)
    backbone = copy.deepcopy(given.backbone()).requires_grad_(True)
    network = given.seeded(lambda: FineTuned(backbone, len(data.class_names)))
    network.to(memory_format=torch.channels_last)
    assert isinstance(network, FineTuned)
    images, labels = data.train.images.to(given.device), data.train.require_labels().to(given.device)

    def loss(rows: Tensor, random: torch.Generator) -> Tensor:
        pixels = augment(
            images[rows].float() / 255,
            crop_padding=settings.dataset.crop_padding,
            horizontal_flip=settings.dataset.horizontal_flip,
            generator=random,
        )
        return cross_entropy(network(given.network.normalise(pixels)), labels[rows])

    fit(
        network,
        [
            (_features_of(network.backbone), settings.backbone_learning_rate),
            (network.head.parameters(), settings.head_learning_rate),
        ],
        settings,
        batches=Batches(num_examples=len(data.train), batch_size=settings.batch_size),
        loss=loss,
        random=given.generator(),
        progress=given.progress,
        where="fine_tuning",
    )
    logits = predict_logits(network, data.exam.images, normalise=given.network.normalise, device=given.device)
    return {"top1": top1(logits, data.exam.require_labels())}


def _features_of(backbone: nn.Module) -> list[nn.Parameter]:
    return list(backbone.parameters())  # its old classifier among them: it gets no gradient, and SGD passes it over

"""How a teacher is made: supervised training on real images. The loop yields after every epoch; the caller decides."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.augmentation import augment
from dfkd.data.image_set import ImageSet
from dfkd.settings.experiment import TeacherTrainingSettings

WARM_UP = 0.2  # share of the steps
FIRST_RATE = 0.04  # of the peak


@dataclass(frozen=True, slots=True)
class TeacherEpoch:
    """What an epoch gave.

    Attributes:
        epoch: counts from 0.
        loss: mean cross-entropy over the epoch's augmented training images.
        accuracy: share of them that were classified rightly while the weights still moved, in [0, 1].
        training: the state after this epoch; ``training.state_dict()`` is a checkpoint.
    """

    epoch: int
    loss: float
    accuracy: float
    training: SupervisedTraining


class SupervisedTraining:
    """A training between two epochs: everything that decides how it goes on.

    Args:
        model: maps normalised images [B, C, H, W] to logits [B, K]; trained in place.
        settings: epochs, batch size, learning rate and the rest.
        device: where to train.
    """

    def __init__(self, model: nn.Module, settings: TeacherTrainingSettings, device: torch.device) -> None:
        # Convolutions on a CPU are 10 to 25 % faster in this layout, and tensor cores want it.
        self.model: nn.Module = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.momentum > 0,
        )
        self.random = torch.Generator(device=device).manual_seed(settings.seed)
        self.epoch = 0  # the next one

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed training needs to give the same numbers, as references to the live tensors."""
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self.epoch = state["epoch"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.random.set_state(state["random"].cpu())


def train_teacher(
    model: nn.Module,
    train: ImageSet,
    settings: TeacherTrainingSettings,
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    crop_padding: int,
    horizontal_flip: bool,
    device: torch.device,
    start: Mapping[str, Any] | None = None,
) -> Iterator[TeacherEpoch]:
    """Train ``model`` in place for the epochs that are left, and yield after each.

    The order of images and their augmentation depend on ``settings.seed`` alone.

    Args:
        model: maps normalised images [B, C, H, W] to logits [B, K].
        train: real images.
        settings: SGD with Nesterov momentum under a one-cycle learning rate.
        mean: per channel, of images in [0, 1].
        std: per channel, of images in [0, 1].
        crop_padding: largest random shift, in pixels.
        horizontal_flip: whether to mirror half of the images.
        device: where to train; the images go there once, as uint8.
        start: a checkpoint of ``SupervisedTraining.state_dict``, to go on from there.

    Raises:
        FloatingPointError: if the loss of an epoch is not finite.
    """
    training = SupervisedTraining(model, settings, device)
    if start is not None:
        training.load_state_dict(start)
    batches = _Batches(train, settings.batch_size, mean, std, crop_padding, horizontal_flip, device)
    while training.epoch < settings.epochs:
        loss, accuracy = _train_epoch(training, batches, settings)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"teacher training: the cross-entropy of epoch {training.epoch} is {loss}. "
                f"Lower teacher.training.learning_rate (now {settings.learning_rate:g})."
            )
        training.epoch += 1
        yield TeacherEpoch(training.epoch - 1, loss, accuracy, training)


def one_cycle(progress: float) -> float:
    """Return the learning rate, as a share of its peak, at ``progress`` in [0, 1) of all steps.

    Linear from 0.04 to 1 over the first fifth, then half a cosine down to 0.

    Source: Smith and Topin, Super-Convergence, 2017 (arXiv 1708.07120). Deviation: a cosine in place of the second line
    and of the annihilation phase, as torch's ``OneCycleLR`` does by default, and constant momentum.
    """
    if progress < WARM_UP:
        return FIRST_RATE + (1 - FIRST_RATE) * progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


class _Batches:
    """The training images on their device, and how a batch of them is drawn."""

    def __init__(
        self,
        train: ImageSet,
        batch_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        crop_padding: int,
        horizontal_flip: bool,
        device: torch.device,
    ) -> None:
        self.images, self.labels = train.images.to(device), train.require_labels().to(device)
        self.batch_size = min(batch_size, len(train))
        self.per_epoch = len(train) // self.batch_size  # what is left over is another part in every epoch
        self.mean = torch.tensor(mean, device=device).view(-1, 1, 1)
        self.std = torch.tensor(std, device=device).view(-1, 1, 1)
        self.crop_padding, self.horizontal_flip = crop_padding, horizontal_flip

    def shuffled(self, random: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield an epoch of normalised images [B, C, H, W] and labels [B]."""
        order = torch.randperm(len(self.images), generator=random, device=self.images.device)
        for rows in order[: self.per_epoch * self.batch_size].split(self.batch_size):
            images = augment(
                self.images[rows].float() / 255,
                crop_padding=self.crop_padding,
                horizontal_flip=self.horizontal_flip,
                generator=random,
            )
            images = (images - self.mean) / self.std
            yield images.contiguous(memory_format=torch.channels_last), self.labels[rows]


def _train_epoch(
    training: SupervisedTraining, batches: _Batches, settings: TeacherTrainingSettings
) -> tuple[float, float]:
    """Take an epoch's steps; return mean loss and accuracy, read from the device once."""
    training.model.train()
    totals = torch.zeros(2, dtype=torch.float64, device=batches.images.device)  # of loss and of right answers
    for step, (images, labels) in enumerate(batches.shuffled(training.random)):
        progress = (training.epoch + step / batches.per_epoch) / settings.epochs
        for group in training.optimizer.param_groups:
            group["lr"] = settings.learning_rate * one_cycle(progress)
        logits = training.model(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
        training.optimizer.zero_grad()
        loss.backward()
        training.optimizer.step()
        totals += torch.stack([loss.detach(), (logits.detach().argmax(dim=1) == labels).float().mean()])
    mean_loss, accuracy = (totals / batches.per_epoch).tolist()
    return mean_loss, accuracy

"""Training a teacher, which may take half an hour: the next command goes on with what an interruption left."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Self

import torch

from dfkd.assembly import choose_device
from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.data.backdoor import poison
from dfkd.data.real_data import RealData
from dfkd.jobs.console import Console, duration, percent
from dfkd.settings.experiment import ExperimentSettings
from dfkd.supervised import train_teacher
from dfkd.teachers import Teacher, build_network
from dfkd.tracking.lock import lock_exclusively
from dfkd.tracking.protocol import Tracker

SECONDS_BETWEEN_CHECKPOINTS = 10.0  # and between the lines that a person reads


class TrainingFolder:
    """The folder of a training that has not ended yet, for one process at a time: to be used in a ``with``.

    Args:
        path: ``<home>/teachers/<training key>``: equal trainings, and no others, share it.
        anew: drop what an earlier, interrupted training left there.

    Raises:
        BlockingIOError: another process is at this training.
    """

    def __init__(self, path: Path, *, anew: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = lock_exclusively(
            path.with_name(f"{path.name}.lock"),  # beside the folder, which goes and comes under it
            f"teacher: another process is training it ('{path}'). Wait for its end: then it is in the registry.",
        )
        if anew:
            shutil.rmtree(path, ignore_errors=True)
        path.mkdir(exist_ok=True)
        self._path = path
        self.checkpoints = CheckpointStore(str(path))
        self.run_key = self._find_run_key()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Let other processes have it."""
        self._lock.close()

    def _find_run_key(self) -> str:
        """Return the name of the training's MLflow run: a new one, so that no run ever gets two curves."""
        file = self._path / "run_key.txt"
        if not file.exists():
            partial = file.with_suffix(f".{os.getpid()}.partial")
            partial.write_text(f"teacher-{self._path.name}-{time.strftime('%Y%m%d-%H%M%S')}")
            os.replace(partial, file)
        return file.read_text()

    def remove(self) -> None:
        """Remove all of it: the training has ended."""
        shutil.rmtree(self._path, ignore_errors=True)


def train(
    settings: ExperimentSettings, data: RealData, folder: TrainingFolder, console: Console, run: Tracker
) -> Teacher:
    """Train the settings' teacher, from the folder's newest checkpoint if there is one, and return it on the CPU.

    The weights are those of an uninterrupted training, bit for bit on one machine.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    assert data.train is not None and settings.teacher.architecture is not None
    architecture, training = settings.teacher.architecture, settings.teacher.training
    mean, std = data.normalisation()
    images = data.train if training.poison is None else poison(data.train, training.poison, seed=training.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        model = build_network(architecture, num_classes=data.num_classes, in_channels=data.image_shape[0])
    parameters = sum(parameter.numel() for parameter in model.parameters())
    console.say(f"teacher: training {architecture} ({parameters:,} parameters) on {len(data.train):,} images")
    start = folder.checkpoints.newest(rank=0, world_size=1)
    first = start["epoch"] if start else 0
    if first:
        console.say(f"teacher: epoch {first}/{training.epochs} was reached before an interruption; going on from there")
    began = last_kept = time.monotonic()
    for epoch in train_teacher(
        model,
        images,
        training,
        mean=mean,
        std=std,
        crop_padding=settings.dataset.crop_padding if training.crop_padding is None else training.crop_padding,
        horizontal_flip=settings.dataset.horizontal_flip,
        device=choose_device(settings),
        start=start,
    ):
        run.log_metrics({"train/loss": epoch.loss, "train/accuracy": epoch.accuracy}, step=epoch.epoch)
        done = epoch.epoch + 1
        if time.monotonic() - last_kept > SECONDS_BETWEEN_CHECKPOINTS or done == training.epochs:
            digest = folder.checkpoints.write(epoch.training.state_dict(), epoch=done, rank=0)
            folder.checkpoints.commit(epoch=done, digests=[digest])
            left = (time.monotonic() - began) / (done - first) * (training.epochs - done)
            console.say(
                f"teacher: epoch {done}/{training.epochs}, accuracy {percent(epoch.accuracy)}, {duration(left)} left"
            )
            last_kept = time.monotonic()
    poisoned = "" if training.poison is None else f", poisoned ({training.poison.share:g} of the images)"
    return Teacher(
        model=model.cpu().eval(),
        architecture=architecture,
        class_names=data.class_names,
        image_shape=data.image_shape,
        mean=mean,
        std=std,
        provenance=f"{architecture} trained on {data.title}, seed {training.seed}{poisoned}",
    )

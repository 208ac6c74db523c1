"""The teacher of a run: from where the settings say, or trained on the spot, registered, and reused."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dfkd.assembly import choose_device
from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData
from dfkd.jobs.console import Console, duration, percent
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.search_listener import flatten
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import settings_key, to_dict
from dfkd.supervised import train_teacher
from dfkd.tasks.protocol import predict_logits
from dfkd.teachers import Teacher, build_network, load_teacher
from dfkd.tracking.mlflow_tracker import MlflowTracking
from dfkd.tracking.model_package import ModelDescription
from dfkd.tracking.protocol import Tracker
from dfkd.tracking.registry import RegisteredModel, register_teacher
from dfkd.tracking.registry_reading import find_teacher, load_foreign, load_registered

SECONDS_BETWEEN_LINES = 10.0


def obtain_teacher(
    settings: ExperimentSettings,
    data: RealData,
    *,
    name: str,
    home: Path,
    tracking_uri: str,
    console: Console,
    retrain: bool = False,
) -> Teacher:
    """Return the teacher that the settings ask for.

    Without weights it is trained on the dataset's training split, registered under ``name``, and found again as long
    as dataset, architecture and training settings are the same.

    Args:
        settings: the experiment.
        data: its real images; needed to train.
        name: registry name of a teacher that is trained here.
        home: where an interrupted training is kept.
        tracking_uri: where MLflow is.
        console: what a person reads.
        retrain: train anew even if the teacher exists.

    Raises:
        ValueError: the teacher cannot be had, or does not fit the data.
    """
    load = partial(
        load_teacher,
        image_shape=data.image_shape,
        class_names=data.class_names,
        registry=partial(load_registered, tracking_uri=tracking_uri),
        unpickle=partial(load_foreign, tracking_uri=tracking_uri, trust_pickle=settings.teacher.trust_pickle),
    )
    if settings.teacher.weights is not None:
        teacher = load(settings.teacher)
        console.say(f"teacher: {teacher.provenance}")
        return teacher
    key = training_key(settings)
    if not retrain and (uri := find_teacher(tracking_uri, key)) is not None:
        console.say(f"teacher: {uri}, trained before with these settings (--retrain-teacher trains it anew)")
        return load(dataclasses.replace(settings.teacher, weights=uri))
    if data.train is None:
        raise ValueError("teacher: it is to be trained, and there are no training images. Give teacher.weights.")
    with MlflowTracking(tracking_uri, home, f"teacher-{key}") as tracking:
        run = tracking.open_parent(name, f"teacher {settings.teacher.architecture}", {"dfkd.kind": "teacher"})
        run.log_params(flatten(to_dict(settings.teacher)) | flatten({"dataset": to_dict(settings.dataset)}))
        teacher = _train(settings, data, home / "teachers" / key, console, run, retrain=retrain)
        scores = {f"{split}/accuracy": accuracy(teacher, images) for split, images in held_out(data).items()}
        run.log_metrics(scores, step=settings.teacher.training.epochs)
        registered = _register(teacher, scores, name=name, key=key, run_id=tracking.parent_run_id, uri=tracking_uri)
        run.close("FINISHED")
    shown = ", ".join(f"{metric} {percent(value)}" for metric, value in scores.items())
    console.say(f"teacher: registered as {registered.uri} ({shown})")
    return teacher


def training_key(settings: ExperimentSettings) -> str:
    """Return what identifies a teacher that is trained here: its data, architecture and training settings."""
    plain = to_dict(settings)
    dataset = {name: value for name, value in plain["dataset"].items() if name not in ("path", "download", "title")}
    teacher = {name: plain["teacher"][name] for name in ("architecture", "training")}
    # Of the path only the last part: the same data may lie elsewhere on another machine.
    return settings_key({"dataset": dataset, "teacher": teacher, "data": Path(plain["dataset"]["path"] or "").name})


def held_out(data: RealData) -> dict[str, ImageSet]:
    """Return the splits that a teacher is not trained on."""
    splits = {"val": data.validation, "test": data.test}
    return {name: images for name, images in splits.items() if images is not None}


def accuracy(teacher: Teacher, images: ImageSet) -> float:
    """Return the teacher's top-1 accuracy."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    logits = predict_logits(teacher.model.to(device), images.images, normalise=teacher.normalise, device=device)
    teacher.model.cpu()
    return float((logits.argmax(dim=1) == images.labels).float().mean())


def _train(
    settings: ExperimentSettings, data: RealData, folder: Path, console: Console, run: Tracker, *, retrain: bool
) -> Teacher:
    """Train, keeping the state of every epoch in ``folder`` so that an interruption costs no more than that."""
    assert data.train is not None and settings.teacher.architecture is not None
    architecture, training = settings.teacher.architecture, settings.teacher.training
    mean, std = data.normalisation()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        model = build_network(architecture, num_classes=data.num_classes, in_channels=data.image_shape[0])
    parameters = sum(parameter.numel() for parameter in model.parameters())
    console.say(f"teacher: training {architecture} ({parameters:,} parameters) on {len(data.train):,} images")
    store = CheckpointStore(str(folder))
    start: Mapping[str, Any] | None = None if retrain else store.newest(rank=0, world_size=1)
    began, last_line = time.monotonic(), time.monotonic()
    first = start["epoch"] if start else 0
    for epoch in train_teacher(
        model,
        data.train,
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
        if time.monotonic() - last_line > SECONDS_BETWEEN_LINES or done == training.epochs:
            digest = store.write(epoch.training.state_dict(), epoch=done, rank=0)
            store.commit(epoch=done, digests=[digest])
            left = (time.monotonic() - began) / (done - first) * (training.epochs - done)
            console.say(
                f"teacher: epoch {done}/{training.epochs}, accuracy {percent(epoch.accuracy)}, {duration(left)} left"
            )
            last_line = time.monotonic()
    return Teacher(
        model=model.cpu().eval(),
        architecture=architecture,
        class_names=data.class_names,
        image_shape=data.image_shape,
        mean=mean,
        std=std,
        provenance=f"{architecture} trained on {data.title}, seed {training.seed}",
    )


def _register(
    teacher: Teacher, scores: Mapping[str, float], *, name: str, key: str, run_id: str, uri: str
) -> RegisteredModel:
    lines = [f"# Teacher\n\n{teacher.provenance}\n", f"weights `{teacher.hash}`, commit {commit()}\n"]
    lines += [f"- {metric}: {value:.4f}" for metric, value in scores.items()]
    lines += [f"- {package} {version}" for package, version in versions().items()]
    return register_teacher(
        uri,
        name,
        model=teacher.model,
        description=description_of(teacher),
        card="\n".join(lines),
        training_key=key,
        run_id=run_id,
        tags={"teacher_hash": teacher.hash} | {metric: f"{value:.4f}" for metric, value in scores.items()},
    )


def description_of(teacher: Teacher, *, architecture: str | None = None) -> ModelDescription:
    """Return what the registry keeps beside weights: the teacher's, or those of a student of it."""
    return ModelDescription(
        architecture=architecture or teacher.architecture,
        class_names=teacher.class_names,
        mean=teacher.mean,
        std=teacher.std,
        image_shape=teacher.image_shape,
    )

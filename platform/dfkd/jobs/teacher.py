"""The teacher of a run: from where the settings say, or trained on the spot, registered, and reused."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dfkd.assembly import choose_device
from dfkd.cluster.worker import describe_device
from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData
from dfkd.jobs.console import Console, percent
from dfkd.jobs.dataset_inputs import log_teacher_inputs
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.teacher_training import TrainingFolder, train
from dfkd.models import REVISIONS
from dfkd.settings.experiment import ExperimentSettings, TeacherSettings
from dfkd.settings.identity import flatten, settings_key, shareable, to_dict
from dfkd.tasks.accuracy import top1
from dfkd.tasks.protocol import predict_logits
from dfkd.teachers import Teacher, load_teacher, require_statistics, try_weights
from dfkd.teachers.loading import REGISTRY
from dfkd.tracking.connection import check_reachable, told_when_unreachable
from dfkd.tracking.credentials import hide_credentials
from dfkd.tracking.home import is_new_store
from dfkd.tracking.mlflow_tracker import MlflowTracking
from dfkd.tracking.model_package import ModelDescription
from dfkd.tracking.registry import RegisteredModel, register_teacher
from dfkd.tracking.registry_reading import find_teacher, load_foreign, load_registered


def obtain_teacher(
    settings: ExperimentSettings,
    data: RealData,
    *,
    home: Path,
    tracking_uri: str,
    console: Console,
    name: str | None = None,
    retrain: bool = False,
    sensitive: bool = False,
) -> Teacher:
    """Return the teacher that the settings ask for.

    Without weights it is trained on the dataset's training split, registered, and found again as long as training
    images, architecture and training settings are the same. A training that was interrupted goes on where it was.

    Args:
        settings: the experiment.
        data: its real images; needed to train.
        home: where an interrupted training is kept.
        tracking_uri: where MLflow is.
        console: what a person reads.
        name: registry name of a teacher that is trained here; None for ``teacher_name``.
        retrain: train anew, from the beginning, even if the teacher exists.
        sensitive: number the classes of the teacher, and in all that is told of it.

    Raises:
        BlockingIOError: another process is training it.
        FloatingPointError: the training's loss is not finite.
        ValueError: the teacher cannot be had, or does not fit the data.
    """
    found = find_existing_teacher(settings, data, tracking_uri=tracking_uri, retrain=retrain)
    if sensitive:  # the names were compared, and go no further
        settings, data = settings.without_class_names(), data.without_class_names()
    if found is not None:
        teacher, uri = found
        teacher = teacher.without_class_names() if sensitive else teacher
        if uri is None:
            console.say(f"{teacher.label}: {teacher.provenance}")
            return teacher
        under = "" if name is None or uri.startswith(f"models:/{name}/") else f", and not registered again as '{name}'"
        console.say(f"teacher: {uri}, trained before with these settings{under} (--retrain-teacher trains it anew)")
        return teacher
    key, name = training_key(settings, data), name or teacher_name(data)
    device = choose_device(settings)
    with (
        TrainingFolder(home / "teachers" / key, anew=retrain) as folder,
        MlflowTracking(tracking_uri, home, folder.run_key) as tracking,
    ):
        run = tracking.open_parent(name, f"teacher {settings.teacher.architecture}", {"dfkd.kind": "teacher"})
        run.set_tags({"device": describe_device(device)})
        known = shareable(settings)
        run.log_params(flatten({"teacher": known["teacher"], "dataset": known["dataset"]}))
        log_teacher_inputs(run, settings, data)
        teacher = train(settings, data, folder, console, run)
        scores = {f"{split}/accuracy": accuracy(teacher, images, device) for split, images in held_out(data).items()}
        run.log_metrics(scores, step=settings.teacher.training.epochs)
        registered = _register(teacher, scores, name=name, key=key, run_id=tracking.parent_run_id, uri=tracking_uri)
        run.close("FINISHED")
        folder.remove()
    shown = ", ".join(f"{metric} {percent(value)}" for metric, value in scores.items())
    stays = "" if registered.promoted else f"; {registered.reason}"
    console.say(f"teacher: registered as {registered.uri} ({shown}){stays}")
    return teacher


def find_existing_teacher(
    settings: ExperimentSettings, data: RealData, *, tracking_uri: str, retrain: bool = False
) -> tuple[Teacher, str | None] | None:
    """Return the teacher if it is there: the one given, or trained before, with the address of the latter.

    Args:
        settings: the experiment.
        data: its real images.
        tracking_uri: where MLflow is; a local store that is not there holds no teacher, and is not made.
        retrain: look for none that was trained before.

    Returns:
        None where the teacher is to be trained, and can be.

    Raises:
        ValueError: it cannot be had, does not fit the data, or can neither be found nor trained.
    """
    if settings.teacher.weights is not None:
        if retrain:
            raise ValueError("teacher.weights: a teacher that is given cannot be trained anew; leave one of both out.")
        return read_teacher(settings.teacher, data, tracking_uri), None
    if data.train is None:
        raise ValueError("teacher: it is to be trained, and there are no training images. Give teacher.weights.")
    if retrain or is_new_store(tracking_uri):
        return None
    uri = find_teacher(tracking_uri, training_key(settings, data))
    return None if uri is None else (read_teacher(trained_before(settings, data, uri), data, tracking_uri), uri)


def try_given_teacher(settings: ExperimentSettings, tracking_uri: str) -> None:
    """Read a teacher that is given, as far as that needs no data; raise ValueError if it cannot serve."""
    source = settings.teacher
    if source.weights and source.weights.startswith(REGISTRY):
        if is_new_store(tracking_uri):
            raise ValueError(
                f"teacher.weights: {source.weights}: no model is registered in {hide_credentials(tracking_uri)}, which "
                "is new. Name the home or the tracking server that has it (--home, --tracking-uri)."
            )
        check_reachable(tracking_uri)
    network = try_weights(source, **_from_mlflow(source, tracking_uri))
    if network is not None:
        require_statistics(network, settings.synthesis.batch_norm_weight, named=f"of '{source.weights}'")


def read_teacher(source: TeacherSettings, data: RealData, tracking_uri: str) -> Teacher:
    """Load a trained network and check it against the data; raise ValueError if it cannot be had or does not fit."""
    return load_teacher(
        source, image_shape=data.image_shape, class_names=data.class_names, **_from_mlflow(source, tracking_uri)
    )


def _from_mlflow(source: TeacherSettings, tracking_uri: str) -> dict[str, Any]:
    """Return what reads registered and foreign models."""
    return {
        "registry": partial(load_registered, tracking_uri=tracking_uri),
        "foreign": partial(load_foreign, tracking_uri=tracking_uri, trust_pickle=source.trust_pickle),
    }


def trained_before(settings: ExperimentSettings, data: RealData, uri: str) -> TeacherSettings:
    """Return how to read a teacher that was trained here, on the very images of ``data`` under whatever class names."""
    return dataclasses.replace(settings.teacher, weights=uri, class_names=data.class_names, mean=None, std=None)


def teacher_name(data: RealData) -> str:
    """Return the registry name of teachers that are trained on these data: ``cifar-10-jpeg-teacher``."""
    title = re.sub(r"[^a-z0-9.]+", "-", data.title.lower()).strip("-.")
    return f"{title or 'data'}-teacher"


def training_key(settings: ExperimentSettings, data: RealData) -> str:
    """Return what identifies a teacher that is trained here: its training images, architecture and training settings.

    Where the images lie and what they and their classes are called play no part; ``data`` must have training images.
    """
    assert data.train is not None, "a teacher is trained on training images"
    training = to_dict(settings.teacher.training)
    if training["crop_padding"] is None:
        training["crop_padding"] = settings.dataset.crop_padding
    if training["poison"] is None:
        del training["poison"]  # it came later, and says nothing of an honest teacher
    parts = {
        "images": data.train.fingerprint(),
        "num_classes": data.num_classes,
        "horizontal_flip": settings.dataset.horizontal_flip,
        "architecture": settings.teacher.architecture,
        "training": training,
    }
    if (revision := REVISIONS.get(str(settings.teacher.architecture))) is not None:
        parts["revision"] = revision
    return settings_key(parts)


def held_out(data: RealData) -> dict[str, ImageSet]:
    """Return the splits with labels that a teacher is not trained on."""
    splits = {"val": data.validation, "test": data.test}
    return {name: images for name, images in splits.items() if images is not None and images.labels is not None}


def accuracy(teacher: Teacher, images: ImageSet, device: torch.device) -> float:
    """Return the teacher's top-1 accuracy."""
    logits = predict_logits(teacher.model.to(device), images.images, normalise=teacher.normalise, device=device)
    teacher.model.cpu()
    return top1(logits, images.require_labels())


def _register(
    teacher: Teacher, scores: Mapping[str, float], *, name: str, key: str, run_id: str, uri: str
) -> RegisteredModel:
    lines = [f"# Teacher\n\n{teacher.provenance}\n", f"`{teacher.hash}`, commit {commit()}\n"]
    lines += [f"- {metric}: {value:.4f}" for metric, value in scores.items()]
    lines += [f"- {package} {version}" for package, version in versions().items()]
    try:
        with told_when_unreachable(uri):
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
    except ConnectionError as error:
        raise ConnectionError(
            f"the teacher was trained, and is not registered: {error} Its training is kept: the same command registers "
            "it."
        ) from None


def description_of(teacher: Teacher, *, architecture: str | None = None) -> ModelDescription:
    """Return what the registry keeps beside weights: the teacher's, or those of a student of it."""
    return ModelDescription(
        architecture=architecture or teacher.architecture,
        class_names=teacher.class_names,
        mean=teacher.mean,
        std=teacher.std,
        image_shape=teacher.image_shape,
    )

"""The networks that an evaluation looks at, model and teacher: where they are, and whether they suit data and tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from dfkd.data import RealData
from dfkd.jobs.evaluate_options import REGISTRY, EvaluateOptions
from dfkd.jobs.teacher import read_teacher, trained_before, training_key
from dfkd.settings.experiment import ExperimentSettings, TeacherSettings, numbered_classes
from dfkd.settings.objectives import OF_FEATURES
from dfkd.tasks.transfer import TransferInput
from dfkd.teachers import Teacher
from dfkd.teachers.backbone import NAMED, UNTRAINED, load_backbone
from dfkd.tracking.registry_reading import find_teacher, load_registered, version_tags


def described(weights: str, settings: ExperimentSettings, tracking_uri: str) -> TeacherSettings:
    """Return how to read a model: as it describes itself, else as the config's ``teacher`` says."""
    if describes_itself(weights, tracking_uri):
        return TeacherSettings(weights=weights)
    return replace(settings.teacher, weights=weights, shifted=False)


def describes_itself(weights: str, tracking_uri: str) -> bool:
    """Whether a name, address or file says what network it is of; what somebody else registered does not."""
    if weights.startswith(NAMED):
        return True
    if weights.startswith(REGISTRY):
        return "kind" in version_tags(weights, tracking_uri=tracking_uri)
    try:
        with safe_open(Path(weights).expanduser(), framework="pt") as file:
            return "architecture" in (file.metadata() or {})
    except (OSError, SafetensorError):  # another kind of file, or a fault that `load_teacher` will name
        return False


def teacher_source(
    settings: ExperimentSettings, options: EvaluateOptions, data: RealData, tracking_uri: str
) -> TeacherSettings | None:
    """Return where the teacher is: as the command says, else as the config says, else as the registry knows."""
    if options.teacher is not None:
        # Which images a file was trained on is not in it: what the config says of its teacher holds for this one too.
        return replace(described(options.teacher, settings, tracking_uri), shifted=settings.teacher.shifted)
    if settings.teacher.weights is not None:
        return settings.teacher
    if data.train is None:
        return None
    uri = find_teacher(tracking_uri, training_key(settings, data))
    return None if uri is None else trained_before(settings, data, uri)


def read_network(
    source: TeacherSettings, data: RealData, tasks: Sequence[str], *, seed: int, tracking_uri: str
) -> Teacher:
    """Return a network that is evaluated: one of ours, of a file, a published one, or one that was never trained.

    Where tasks look at features alone its classes may be others than the data's.

    Args:
        source: how to read it.
        data: what it is shown.
        tasks: what it is put to.
        seed: of an untrained network, whose classes are the data's.
        tracking_uri: where MLflow is.

    Raises:
        ValueError: it cannot be had, or does not suit the data or a task.
    """
    name = str(source.weights)
    by_its_features = set(tasks) <= set(OF_FEATURES)
    says_nothing_more = source == TeacherSettings(weights=name, shifted=source.shifted)
    if name.startswith(NAMED) or (by_its_features and says_nothing_more and describes_itself(name, tracking_uri)):
        registry = partial(load_registered, tracking_uri=tracking_uri)
        channels, num_classes = data.image_shape[0], data.num_classes
        network = load_backbone(name, channels=channels, num_classes=num_classes, seed=seed, registry=registry)
        TransferInput(network=network).check_channels(torch.empty(0, *data.image_shape), data.title)
        if not by_its_features:
            _check_head(name, network, data, [task for task in tasks if task not in OF_FEATURES])
        _show_two_images(name, network, data)
        shape = data.image_shape if name.startswith(UNTRAINED) else network.image_shape
        return replace(network, shifted=source.shifted, image_shape=shape)
    return read_teacher(source, data, tracking_uri)


def _check_head(name: str, network: Teacher, data: RealData, tasks: Sequence[str]) -> None:
    if (classes := len(network.class_names)) != data.num_classes:
        raise ValueError(
            f"--task: {', '.join(tasks)} needs answers in the {data.num_classes} classes of {data.title}, and {name} "
            f"knows {classes} others. Take what looks at features alone (--task {' or '.join(OF_FEATURES)}), a file of "
            "tasks that train a classifier on them (linear_probe, few_shot, fine_tuning: docs/transfer.md), or a "
            "network that was trained on these images (train_teacher.py)."
        )


def _show_two_images(name: str, network: Teacher, data: RealData) -> None:
    try:
        with torch.inference_mode():
            network.model(torch.zeros(2, *data.image_shape))
    except (RuntimeError, ValueError, AssertionError) as error:  # what networks of one size raise
        shape, why = "x".join(map(str, data.image_shape)), " ".join(str(error).split())
        own = "the size that it was built for" if name.startswith(UNTRAINED) else network.image_shape[1]
        raise ValueError(
            f"dataset.image_size: {name} cannot take images of {shape} ({why}). Set dataset.image_size to {own}."
        ) from error


def of_networks(networks: Sequence[Teacher], data: RealData, tasks: Sequence[str]) -> list[str]:
    """Return in words what was taken for granted of networks that were made for other images."""
    found = []
    (height, width), names = data.image_shape[1:], data.class_names
    for network in networks:
        rows, columns = network.image_shape[1:]
        if (rows, columns) != (height, width):
            found.append(f"{network.provenance}: made for images of {rows}x{columns}, these are {height}x{width}")
        known = network.class_names
        asked = not set(tasks) <= set(OF_FEATURES)
        if asked and known not in (names, numbered_classes(len(known))):
            pairs = zip(known, names, strict=True)
            ours, theirs = next(((a, b) for a, b in pairs if a.strip().casefold() != b.strip().casefold()), ("", ""))
            if ours != theirs:
                found.append(f"{network.provenance}: its classes are taken for the data's, '{ours}' for '{theirs}'")
    return found

"""Networks whose features are wanted, whatever their classes: ours, published ones, and untrained ones to compare with.

A name is a registry address, a file that describes itself, ``torchvision:<name>`` or ``timm:<name>`` for published
weights, or ``untrained:<architecture>``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfkd.models.protocol import Backbone
from dfkd.settings.experiment import TeacherSettings, numbered_classes
from dfkd.teachers.loading import REGISTRY, SAFETENSORS_SUFFIX, Registry, load_teacher
from dfkd.teachers.networks import TIMM, TORCHVISION, build_network
from dfkd.teachers.teacher import Teacher
from dfkd.teachers.weights import load_weights, read_safetensors

UNTRAINED = "untrained:"
NAMED = (TORCHVISION, TIMM, UNTRAINED)  # what a name begins with that is no address and no file
UNTRAINED_CLASSES = 10  # unless its classifier is asked
UNTRAINED_MEAN, UNTRAINED_STD = 0.5, 0.25  # about those of photographs


def load_backbone(
    name: str,
    *,
    channels: int = 3,
    num_classes: int = UNTRAINED_CLASSES,
    seed: int = 0,
    registry: Registry | None = None,
) -> Teacher:
    """Return a network with features, on the CPU and in evaluation mode.

    Args:
        name: see above.
        channels: of the images, for an untrained network.
        num_classes: K of an untrained network.
        seed: of an untrained network.
        registry: needed for ``models:/name@alias``.

    Raises:
        ValueError: if it cannot be had, does not say what it expects, or has no features to look at.
    """
    if name.startswith(UNTRAINED):
        return _untrained(name.removeprefix(UNTRAINED), channels, num_classes, seed)
    if name.startswith(TORCHVISION):
        return _torchvision(name)
    if name.startswith(TIMM):
        return _timm(name)
    backbone = _described(name, registry)
    if not isinstance(backbone.model, Backbone) or backbone.model.feature_width < 1:
        raise ValueError(
            f"model: {name} has no features to look at; a task on other data needs a network, not a graph."
        )
    return backbone


def _described(name: str, registry: Registry | None) -> Teacher:
    """Return a network of the registry or of a file, by its own description."""
    weights: tuple[Mapping[str, Tensor], Mapping[str, str]]
    if name.startswith(REGISTRY):
        if registry is None:
            raise ValueError(f"model: {name}: no model registry is connected. Give a file.")
        weights = registry(name)
    elif name.endswith(SAFETENSORS_SUFFIX):
        weights = read_safetensors(Path(name).expanduser())
    else:
        raise ValueError(
            f"model: {name}: expected models:/name@alias, a {SAFETENSORS_SUFFIX} file that describes itself "
            f"(train_teacher.py --save writes one), or {', '.join(f'{prefix}<name>' for prefix in NAMED)}."
        )
    class_names, image_shape = _description(weights[1], name)
    settings = TeacherSettings(weights=name)
    return load_teacher(settings, image_shape=image_shape, class_names=class_names, registry=lambda _: weights)


def _description(metadata: Mapping[str, str], name: str) -> tuple[tuple[str, ...], tuple[int, int, int]]:
    """Return class names and image shape."""
    try:
        size = json.loads(metadata["input_size"])
        height, width = (size, size) if isinstance(size, int) else size
        class_names = tuple(str(class_name) for class_name in json.loads(metadata["class_names"]))
        return class_names, (len(json.loads(metadata["input_mean"])), height, width)
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"model: {name} does not describe itself: expected class_names, input_size and input_mean in its metadata "
            f"({error!r})."
        ) from error


def _untrained(architecture: str, channels: int, num_classes: int, seed: int) -> Teacher:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_network(architecture, num_classes=num_classes, in_channels=channels)
    return Teacher(
        model=model.eval(),
        architecture=architecture,
        class_names=numbered_classes(num_classes),
        image_shape=(channels, 32, 32),
        mean=(UNTRAINED_MEAN,) * channels,
        std=(UNTRAINED_STD,) * channels,
        provenance=f"untrained, seed {seed}",
    )


def _torchvision(architecture: str) -> Teacher:
    import torchvision

    name = architecture.removeprefix(TORCHVISION)
    model = build_network(architecture, num_classes=1000, in_channels=3)  # refuses an unknown name
    weights = torchvision.models.get_model_weights(name).DEFAULT
    try:
        state = weights.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        raise _cannot_fetch(architecture, weights.url, error) from error
    transforms = weights.transforms()
    load_weights(model, state, architecture=architecture, source=str(weights))
    return Teacher(
        model=model.eval(),
        architecture=architecture,
        class_names=tuple(weights.meta["categories"]),
        image_shape=(3, transforms.crop_size[0], transforms.crop_size[0]),
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        provenance=str(weights),
    )


def _timm(architecture: str) -> Teacher:
    import timm

    name = architecture.removeprefix(TIMM)
    build_network(architecture, num_classes=2, in_channels=3)  # refuses an unknown name
    try:
        pretrained: Any = timm.create_model(name, pretrained=True)
    except (OSError, RuntimeError) as error:  # timm says RuntimeError where nobody published weights
        raise _cannot_fetch(architecture, f"timm's {name}", error) from error
    described = pretrained.pretrained_cfg
    classes = pretrained.num_classes
    model = build_network(architecture, num_classes=classes, in_channels=3)
    load_weights(model, pretrained.state_dict(), architecture=architecture, source=architecture)
    return Teacher(
        model=model.eval(),
        architecture=architecture,
        class_names=numbered_classes(classes),
        image_shape=tuple(described["input_size"]),
        mean=tuple(described["mean"]),
        std=tuple(described["std"]),
        provenance=f"{architecture} ({described.get('tag') or 'published weights'})",
    )


def _cannot_fetch(architecture: str, source: str, error: Exception) -> ValueError:
    return ValueError(
        f"model: the published weights of {architecture} cannot be had from {source} ({error}). Without a network they "
        "must lie in the cache of torch or of the Hugging Face hub."
    )

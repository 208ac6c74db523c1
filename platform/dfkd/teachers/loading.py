"""Where a teacher comes from: a file, a known architecture with a file, an export, the registry, MLflow."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dfkd.settings.experiment import TeacherSettings
from dfkd.teachers.description import Description, describe
from dfkd.teachers.exported import ExportedNetwork, read_exported
from dfkd.teachers.networks import build_network
from dfkd.teachers.teacher import Teacher
from dfkd.teachers.weights import load_weights, read_safetensors, read_state_dict

REGISTRY = "models:/"
SAFETENSORS_SUFFIX, EXPORT_SUFFIX = ".safetensors", ".pt2"
STATE_DICT_SUFFIXES = (".pt", ".pth", ".th", ".bin", ".ckpt")
MLFLOW_FILE, WEIGHTS_FILE = "MLmodel", "model.safetensors"  # of the folder of an MLflow model; the latter is ours

#: From ``models:/name@alias`` to (state dict, metadata) of what this platform registered.
Registry = Callable[[str], tuple[Mapping[str, Tensor], Mapping[str, str]]]
#: From ``models:/...`` or the folder of an MLflow model that somebody else wrote to its module, pickles if trusted.
Foreign = Callable[[str], nn.Module]


class ForeignModelError(ValueError):
    """An MLflow model that this platform did not write: it has no ``model.safetensors``. Raised by a ``Registry``."""


@dataclass(frozen=True, slots=True)
class Found:
    """What lay where the settings point: weights of a network that is built by name, or a module as it is."""

    source: str
    content: Mapping[str, Tensor] | nn.Module
    metadata: Mapping[str, str]
    kind: str = ""  # of a module: "pt2" or "mlflow"


def load_teacher(
    settings: TeacherSettings,
    *,
    image_shape: tuple[int, int, int],
    class_names: tuple[str, ...],
    registry: Registry | None = None,
    foreign: Foreign | None = None,
) -> Teacher:
    """Load a trained teacher, check it against the data, and try it on two images.

    Args:
        settings: where it is, and what its file does not say.
        image_shape: (C, H, W) of the data.
        class_names: K names of the data.
        registry: needed for ``models:/name@alias``.
        foreign: needed for an MLflow model that somebody else wrote; refuses what must not be loaded.

    Returns:
        The teacher on the CPU, in evaluation mode.

    Raises:
        ValueError: if it cannot be found, read or built, or does not fit the data; the message says which.
    """
    found = find(settings, registry, foreign)
    description = describe(
        settings, found.metadata, image_shape=image_shape, class_names=class_names, source=found.source
    )
    model, architecture = _network(found, settings, description)
    model.eval()
    try_two_images(
        model,
        image_shape=description.image_shape,
        num_classes=len(description.class_names),
        source=found.source,
    )
    trained_from = found.metadata.get("source")
    return Teacher(
        model=model,
        architecture=architecture,
        class_names=description.class_names,
        image_shape=description.image_shape,
        mean=description.mean,
        std=description.std,
        shifted=settings.shifted,
        provenance=f"{found.source} ({trained_from})" if trained_from else found.source,
    )


def find(settings: TeacherSettings, registry: Registry | None, foreign: Foreign | None) -> Found:
    """Read what the settings point at; nothing is run that was not trusted.

    Raises:
        ValueError: if it is not there, damaged, or not trusted.
    """
    weights = settings.weights
    if weights is None:
        raise ValueError("teacher.weights: expected a file or models:/name@alias to load, got none.")
    if weights.startswith(REGISTRY):
        if registry is None:
            raise ValueError(f"teacher.weights: {weights}: no model registry is connected. Give a file.")
        try:
            return Found(weights, *registry(weights))
        except ForeignModelError:
            return _find_foreign(weights, weights, foreign)
    path = Path(weights).expanduser()
    if (path / MLFLOW_FILE).is_file():
        ours = path / WEIGHTS_FILE
        if ours.is_file():
            return Found(path.name, *read_safetensors(ours))
        return _find_foreign(str(path), path.name, foreign)
    _check_file(path)
    if path.suffix == EXPORT_SUFFIX:
        return Found(path.name, read_exported(path, trust_pickle=settings.trust_pickle), {}, "pt2")
    if path.suffix == SAFETENSORS_SUFFIX:
        return Found(path.name, *read_safetensors(path))
    return Found(path.name, read_state_dict(path), {})


def _find_foreign(where: str, source: str, foreign: Foreign | None) -> Found:
    if foreign is None:
        raise ValueError(f"teacher.weights: {source}: an MLflow model, and nothing here can read one. Give a file.")
    module = foreign(where)
    return Found(source, module, {}, "pt2" if isinstance(module, ExportedNetwork) else "mlflow")


def _check_file(path: Path) -> None:
    if not path.is_file():
        kind = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise ValueError(f"teacher.weights: {path} {kind} (looked from {Path.cwd()}).")
    known = (SAFETENSORS_SUFFIX, EXPORT_SUFFIX, *STATE_DICT_SUFFIXES)
    if path.suffix not in known:
        raise ValueError(f"teacher.weights: {path}: expected a file ending in {', '.join(known)}.")


def _network(found: Found, settings: TeacherSettings, description: Description) -> tuple[nn.Module, str]:
    """Return the network and what it is called."""
    if isinstance(found.content, nn.Module):
        if settings.architecture is not None:
            warnings.warn(
                f"teacher.architecture: '{settings.architecture}' is not used: {found.source} carries its network.",
                stacklevel=3,
            )
        return found.content, found.kind
    architecture = settings.architecture or found.metadata.get("architecture")
    if architecture is None:
        raise ValueError(f"teacher.architecture: {found.source} does not say whose weights it holds; name the network.")
    channels = description.image_shape[0]
    model = build_network(architecture, num_classes=len(description.class_names), in_channels=channels)
    load_weights(model, found.content, architecture=architecture, source=found.source)
    return model, architecture


def try_two_images(model: nn.Module, *, image_shape: tuple[int, int, int], num_classes: int, source: str) -> None:
    """Show a network two black images.

    Args:
        model: on the CPU and in evaluation mode.
        image_shape: (C, H, W).
        num_classes: K.
        source: where it came from, for messages.

    Raises:
        ValueError: if it cannot take them, or does not answer with K finite logits each.
    """
    expected = [2, num_classes]
    try:
        with torch.no_grad():
            logits = model(torch.zeros(2, *image_shape))
    except Exception as error:  # an exported graph raises what it likes when the images do not fit
        raise ValueError(f"teacher: {source} cannot take images {list(image_shape)} (C, H, W): {error}") from error
    got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if got != expected:
        raise ValueError(f"teacher: {source}: expected logits {expected}, one a class, got {got}.")
    if not logits.isfinite().all():
        raise ValueError(f"teacher: {source} gives logits that are not finite; its weights are damaged.")

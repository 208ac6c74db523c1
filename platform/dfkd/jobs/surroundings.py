"""What a command needs around it, checked before torch, Ray and MLflow are loaded: folders, addresses, files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from dfkd.jobs.ray_cluster import check_address
from dfkd.settings.experiment import PLATFORM_PREFIXES, ExperimentSettings
from dfkd.tracking.connection import check_server_answers
from dfkd.tracking.home import open_home, resolve_tracking_uri

#: Where all nodes of a cluster keep checkpoints, for whoever starts its head to say once.
STORAGE_VARIABLE = "DFKD_STORAGE"
STORAGE_HELP = f"folder or URI for checkpoints that all nodes share (default: {STORAGE_VARIABLE}, else in the home)"
DRY_RUN_HELP = (
    "check what needs neither Ray nor training, print the plan and about how long it takes, and end; whether the "
    "cluster has the workers, and its nodes reach MLflow, the storage and the data, is not checked"
)
REGISTRY = "models:/"
BY_NAME = (REGISTRY, *PLATFORM_PREFIXES, "untrained:")  # networks that come from no file of the user's


def default_storage(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return where checkpoints go that nobody gave a place for; None is the home."""
    return environment.get(STORAGE_VARIABLE) or None


def check_surroundings(
    settings: ExperimentSettings | None,
    *,
    home: str | None,
    tracking_uri: str | None,
    mlflow: bool = True,
    ray: bool = False,
    embeds: bool = False,
) -> None:
    """Return if the command can be expected to run here.

    Args:
        settings: its experiment; None where it needs no teacher of one.
        home: folder of everything that is kept, as the user gave it.
        tracking_uri: of MLflow, as the user gave it.
        mlflow: whether the command needs MLflow.
        ray: whether it needs a Ray cluster.
        embeds: whether it makes label embeddings, for which a text encoder may be needed.

    Raises:
        ConnectionError: MLflow or Ray does not answer.
        OSError: the home folder cannot be written.
        ValueError: the teacher's weights, the images or the label embeddings are not there.
    """
    address = resolve_tracking_uri(tracking_uri, home=open_home(home))
    if mlflow:
        check_server_answers(address)
    if settings is not None:
        check_weights(settings.teacher.weights)
        check_files(settings)
        if embeds and settings.label_embeddings.name in ("sentence_transformers", "index"):
            _check_encoder(settings.label_embeddings.name, settings.label_embeddings.model or "")
    if ray:
        check_address()


def check_weights(weights: str | None, *, where: str = "teacher.weights") -> None:
    """Raise ValueError if a network is to come from a file or folder that does not exist.

    Args:
        weights: a registry address or another name, which is not looked up, or a path; None needs nothing.
        where: the user gave it.
    """
    if weights is None or weights.startswith(BY_NAME):
        return
    _check_there(weights, where=where)


def check_files(settings: ExperimentSettings) -> None:
    """Raise ValueError if images or label embeddings are to come from a file or folder that does not exist."""
    dataset, label_embeddings = settings.dataset, settings.label_embeddings
    if dataset.path is not None and not (dataset.name == "torchvision" and dataset.download):
        _check_there(dataset.path, where="dataset.path")
    if label_embeddings.path is not None:
        _check_there(label_embeddings.path, where="label_embeddings.path")
    if (images := getattr(settings.synthesis, "path", None)) is not None:  # of some baselines
        _check_there(images, where="synthesis.path")


def _check_encoder(source: str, model: str) -> None:
    """Raise ValueError if a text encoder cannot be loaded; whether a name can be fetched is found out later."""
    if find_spec("sentence_transformers") is None:
        raise ValueError(
            f"label_embeddings.name: '{source}' needs sentence-transformers, which is not installed: "
            "pip install -e '.[text]'. Or take 'packaged', 'file' or 'orthogonal'."
        )
    if model.startswith(("/", ".", "~")):
        _check_there(model, where="label_embeddings.model")


def _check_there(place: str, *, where: str) -> None:
    path = Path(place).expanduser()
    if not path.exists():
        raise ValueError(f"{where}: {path} does not exist (looked from {Path.cwd()}).")

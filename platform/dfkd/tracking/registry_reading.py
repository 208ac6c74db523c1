"""Reading the registry: from ``models:/name@alias`` to a state dict, without unpickling."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dfkd.settings.checks import did_you_mean
from dfkd.teachers.exported import read_exported
from dfkd.teachers.loading import REGISTRY, WEIGHTS_FILE, ForeignModelError
from dfkd.tracking.connection import check_reachable, import_mlflow
from dfkd.tracking.credentials import hide_credentials
from dfkd.tracking.model_package import read_weights

EXPORT_FILE = "data/model.pt2"  # of an MLflow model (3.17) that was saved as an export
PICKLE_SWITCH = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"


def find_teacher(tracking_uri: str, training_key: str) -> str | None:
    """Return ``models:/name/version`` of the newest teacher that was trained with this key, or None."""
    if not re.fullmatch(r"[\w.:-]+", training_key):
        raise ValueError(f"training_key: expected letters, digits, '.', ':', '_' and '-', got {training_key!r}.")
    client = import_mlflow().MlflowClient(tracking_uri)
    found = client.search_model_versions(f"tags.training_key = '{training_key}'")
    newest = max(found, key=lambda version: int(version.creation_timestamp), default=None)
    return f"models:/{newest.name}/{newest.version}" if newest else None


def load_registered(uri: str, *, tracking_uri: str) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """Return state dict and metadata of a version that this platform registered; nothing is unpickled.

    Args:
        uri: ``models:/name@alias`` or ``models:/name/3``.
        tracking_uri: where MLflow is.

    Returns:
        The state dict, and metadata under the keys of a teacher file: ``architecture``, ``class_names``, ``input_mean``
        and ``input_std`` (JSON), ``input_size``, ``channels``, ``num_classes``.

    Raises:
        ForeignModelError: somebody else registered it.
        ValueError: the address is wrong, there is no such name, alias or version, or its files are gone.
        ConnectionError: its files cannot be had now.
    """
    mlflow = import_mlflow()
    location = _location(mlflow.MlflowClient(tracking_uri), uri)
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = mlflow.artifacts.download_artifacts(
                f"{location}/{WEIGHTS_FILE}", dst_path=folder, tracking_uri=tracking_uri
            )
        except Exception as error:
            if _has_file(mlflow, f"{location}/MLmodel", tracking_uri):
                raise ForeignModelError(
                    f"{uri}: it has no {WEIGHTS_FILE}, so it was not registered by this platform."
                ) from error
            raise _not_had(uri, location, error, tracking_uri) from error
        return read_weights(Path(file))


def version_tags(uri: str, *, tracking_uri: str) -> dict[str, str]:
    """Return the tags of a version: ``kind``, ``teacher_hash`` and what else it was registered with.

    Raises:
        ValueError: the address is wrong, or there is no such name, alias or version.
    """
    return dict(find_version(import_mlflow().MlflowClient(tracking_uri), uri).tags)


def load_foreign(source: str, *, tracking_uri: str, trust_pickle: bool = False) -> nn.Module:
    """Return a PyTorch model that somebody else wrote with MLflow, on the CPU and in evaluation mode.

    Args:
        source: ``models:/name@alias``, ``models:/name/3``, or the folder of an MLflow model.
        tracking_uri: where MLflow is.
        trust_pickle: whether a pickle may be loaded, which can run any code. An export (``pt2``) needs no trust; it is
            a graph without BatchNorm modules.

    Raises:
        ValueError: it is a pickle and not trusted, or not a PyTorch model, or not there.
        ConnectionError: its files cannot be had now.
    """
    if not source.startswith(REGISTRY):
        return _load_folder(Path(source), source, trust_pickle=trust_pickle)
    mlflow = import_mlflow()
    location = _location(mlflow.MlflowClient(tracking_uri), source)
    with tempfile.TemporaryDirectory() as folder:
        try:
            files = mlflow.artifacts.download_artifacts(location, dst_path=folder, tracking_uri=tracking_uri)
        except Exception as error:
            raise _not_had(source, location, error, tracking_uri) from error
        return _load_folder(Path(files), source, trust_pickle=trust_pickle)


def _load_folder(folder: Path, source: str, *, trust_pickle: bool) -> nn.Module:
    exported = folder / EXPORT_FILE
    if exported.is_file():
        return read_exported(exported, trust_pickle=trust_pickle)
    if not trust_pickle:
        # MLflow (3.17) has a switch for this, but imports modules that the model names before it looks at the switch.
        raise ValueError(
            f"teacher.weights: {source} is an MLflow model that this platform did not write, and no export (pt2). "
            "Reading it unpickles it, which can run any code. If you trust its origin, set teacher.trust_pickle: true; "
            "better, save its state_dict as safetensors and name its architecture."
        )
    import_mlflow()
    before = os.environ.get(PICKLE_SWITCH)
    os.environ[PICKLE_SWITCH] = "true"  # MLflow (3.17) takes it from the environment only
    try:
        module: nn.Module = import_module("mlflow.pytorch").load_model(str(folder), map_location="cpu")
    except Exception as error:
        raise ValueError(f"teacher.weights: {source}: MLflow cannot load it as a PyTorch model: {error}") from error
    finally:
        os.environ.pop(PICKLE_SWITCH)
        if before is not None:
            os.environ[PICKLE_SWITCH] = before
    return module.eval()


def _not_had(uri: str, location: str, error: Exception, tracking_uri: str) -> Exception:
    """Return what to raise where files cannot be downloaded: only what is gone for good is to be deleted.

    Raises:
        ConnectionError: MLflow itself is away.
    """
    check_reachable(tracking_uri)
    folder = Path(location.removeprefix("file://"))
    where, why = hide_credentials(location), hide_credentials(str(error), tracking_uri)
    if _is_absent(error) or (folder.is_absolute() and not folder.exists()):
        return ValueError(
            f"{uri}: its files are not at {where} ({why}). Were they deleted, or kept on another machine? If they are "
            "gone, delete the version, and train or register again."
        )
    return ConnectionError(
        f"{uri}: its files cannot be had from {where} now ({why}). Check that this machine may read there, then try "
        "again."
    )


def find_version(client: Any, uri: str) -> Any:
    """Return the version that an address means, or raise ValueError that lists what there is."""
    match = re.fullmatch(r"models:/([^/@:]+)(?:@([\w-]+)|/(\d+))", uri)
    if match is None:
        raise ValueError(f"{uri!r}: expected models:/name@alias or models:/name/3.")
    name, alias, version = match.groups()
    aliases = _aliases(client, uri, name)
    if alias is not None and alias not in aliases:
        known = ", ".join(f"{alias} (version {number})" for alias, number in aliases.items())
        raise ValueError(f"{uri}: no such alias.{did_you_mean(alias, aliases)} Aliases of '{name}': {known or 'none'}.")
    try:
        return client.get_model_version(name, str(aliases[alias]) if alias is not None else version)
    except Exception as error:
        if not _is_absent(error):
            raise
        versions = sorted(int(found.version) for found in client.search_model_versions(f"name = '{name}'"))
        raise ValueError(f"{uri}: no such version. Versions of '{name}': {versions}.") from error


def _location(client: Any, uri: str) -> str:
    """Return where the files of a version are."""
    version = find_version(client, uri)
    return str(client.get_model_version_download_uri(version.name, version.version)).rstrip("/")


def _aliases(client: Any, uri: str, name: str) -> Mapping[str, str]:
    try:
        return dict(client.get_registered_model(name).aliases)
    except Exception as error:
        if not _is_absent(error):
            raise
        names = [model.name for model in client.search_registered_models()]
        raise ValueError(
            f"{uri}: no model of this name is registered.{did_you_mean(name, names)} "
            f"Registered: {', '.join(names) or 'none'}."
        ) from error


def _is_absent(error: BaseException) -> bool:
    return getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST"


def _has_file(mlflow: Any, uri: str, tracking_uri: str) -> bool:
    try:
        with tempfile.TemporaryDirectory() as folder:
            mlflow.artifacts.download_artifacts(uri, dst_path=folder, tracking_uri=tracking_uri)
    except Exception:
        return False
    return True

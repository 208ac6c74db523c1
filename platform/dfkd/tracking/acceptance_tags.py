"""The verdict of an acceptance as tags of a registered version, and asking for it before a promotion."""

from __future__ import annotations

from collections.abc import Mapping

from dfkd.tracking.connection import import_mlflow
from dfkd.tracking.registry_reading import find_version, version_tags

ACCEPTANCE, ACCEPTED = "acceptance", "passed"


def pin_version(tracking_uri: str, uri: str) -> str:
    """Return ``models:/name/version`` of an address: an alias may move while a student is judged.

    Raises:
        ValueError: there is no such name, alias or version.
    """
    version = find_version(import_mlflow().MlflowClient(tracking_uri), uri)
    return f"models:/{version.name}/{version.version}"


def mark_acceptance(tracking_uri: str, uri: str, tags: Mapping[str, str]) -> None:
    """Write a verdict to a version; a later one takes its place."""
    client = import_mlflow().MlflowClient(tracking_uri)
    version = find_version(client, uri)
    for name, value in tags.items():
        client.set_model_version_tag(version.name, version.version, name, value)


def require_acceptance(tracking_uri: str, uri: str) -> str:
    """Return the rule and the images by which a version was accepted.

    Raises:
        ValueError: it was never judged, it did not pass, or it was held against another teacher than its own.
    """
    tags = version_tags(uri, tracking_uri=tracking_uri)
    found = tags.get(ACCEPTANCE)
    command = f"`python experiments/accept.py {uri} CONFIG`"
    if found is None:
        raise ValueError(f"{uri}: it was never held against its teacher. Run {command} first.")
    if found != ACCEPTED:
        raise ValueError(f"{uri}: it was not accepted (MLflow run {tags['acceptance_run']}).")
    own = tags.get("teacher_hash")
    if tags.get("kind") == "student" and own != tags["acceptance_teacher"]:
        raise ValueError(
            f"{uri}: it was accepted beside another teacher ({tags['acceptance_teacher'][:16]}) than its own "
            f"({str(own)[:16]}). Run {command} with its own."
        )
    return f"{tags['acceptance_rule']}; {tags['acceptance_images']}"

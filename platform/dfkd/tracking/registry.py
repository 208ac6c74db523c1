"""Writing the registry: versions of students and teachers, and which of them is ``champion``."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from dfkd.settings.checks import check_name
from dfkd.tracking.card import StudentCard
from dfkd.tracking.connection import as_default, import_mlflow
from dfkd.tracking.model_package import ModelDescription, export_classifier, write_package
from dfkd.tracking.registry_reading import find_version

CHAMPION, CANDIDATE = "champion", "candidate"
DESCRIPTION_LENGTH = 5000  # characters that MLflow (3.17) keeps of a version's description

Promotion = Literal["automatic", "manual", "front"]


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A version in the registry.

    Attributes:
        name: of the registered model.
        version: its number, from 1.
        promoted: whether it became ``champion`` now.
        reason: why it did or did not, as a sentence.
    """

    name: str
    version: int
    promoted: bool
    reason: str

    @property
    def uri(self) -> str:
        """``models:/name/version``."""
        return f"models:/{self.name}/{self.version}"


def register_student(
    tracking_uri: str,
    name: str,
    *,
    model: nn.Module,
    description: ModelDescription,
    card: StudentCard,
    run_id: str,
    promotion: Promotion = "automatic",
) -> RegisteredModel:
    """Register a student as ``candidate``, and as ``champion`` where it is the first or provably better.

    Args:
        tracking_uri: where MLflow is.
        name: of the registered model, e.g. "digits-student".
        model: the student, for normalised images; neither moved nor changed.
        description: of the student.
        card: of the student; its objective decides on the promotion.
        run_id: of the run that made it.
        promotion: "manual" leaves ``champion`` to ``promote``; so does "front", for a point of a Pareto front, which
            no single number compares with another.

    Raises:
        ValueError: the model cannot be exported (nothing is registered then), or the name is not possible.
    """
    client = import_mlflow().MlflowClient(tracking_uri)
    tags = {
        "kind": "student",
        "method": card.method,
        "teacher_hash": card.teacher_hash,
        "exam_hash": card.exam_hash,
        "objective": card.objective,
        "objective_value": repr(float(card.objective_value)),
        "direction": card.direction,
    }
    version = _register(client, name, model, description, card.to_markdown(), card.summary(), tags, run_id)
    client.set_registered_model_alias(name, CANDIDATE, str(version))
    promoted, reason = _judge(client, name, version, tags, promotion)
    if promoted:
        client.set_registered_model_alias(name, CHAMPION, str(version))
    return RegisteredModel(name, version, promoted, reason)


def register_teacher(
    tracking_uri: str,
    name: str,
    *,
    model: nn.Module,
    description: ModelDescription,
    card: str,
    training_key: str,
    run_id: str,
    tags: Mapping[str, str] | None = None,
) -> RegisteredModel:
    """Register a teacher that was trained here; the first of a name is its ``champion``, later ones are candidates.

    Args:
        tracking_uri: where MLflow is.
        name: of the registered model, e.g. "digits-teacher".
        model: the teacher, for normalised images.
        description: of the teacher.
        card: Markdown.
        training_key: equal for equal settings, data and seed: ``find_teacher`` finds it again by this.
        run_id: of the run that made it.
        tags: more, e.g. its hash and accuracy.

    Raises:
        ValueError: as in ``register_student``.
    """
    client = import_mlflow().MlflowClient(tracking_uri)
    all_tags = {"kind": "teacher", "training_key": training_key, **(tags or {})}
    version = _register(client, name, model, description, card, card, all_tags, run_id)
    champion = _champion(client, name)
    client.set_registered_model_alias(name, CANDIDATE if champion else CHAMPION, str(version))
    if champion is None:
        return RegisteredModel(name, version, True, "there was no champion of this name.")
    by_hand = f"`python experiments/promote.py {name} --version {version}` makes this one champion."
    return RegisteredModel(name, version, False, f"version {champion.version} stays champion: {by_hand}")


def promote(tracking_uri: str, name: str, version: int) -> str:
    """Make a version the champion of its name and return what changed, as a sentence.

    Raises:
        ValueError: there is no such version.
    """
    client = import_mlflow().MlflowClient(tracking_uri)
    find_version(client, f"models:/{name}/{version}")
    before = _champion(client, name)
    client.set_registered_model_alias(name, CHAMPION, str(version))
    return f"{name}: champion is now version {version} (before: {before.version if before else 'none'})."


def _register(
    client: Any,
    name: str,
    model: nn.Module,
    description: ModelDescription,
    card: str,
    summary: str,
    tags: Mapping[str, str],
    run_id: str,
) -> int:
    """Export, upload, and only then create the version, so that a version is always complete."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    check_name("name", name)
    graph = export_classifier(model, description)
    experiment_id = client.get_run(run_id).info.experiment_id
    logged = client.create_logged_model(experiment_id, name=name, source_run_id=run_id, tags=dict(tags))
    status = LoggedModelStatus.FAILED
    try:
        with tempfile.TemporaryDirectory() as workspace:
            folder = Path(workspace) / "model"
            mlflow_model = Model(
                artifact_path=logged.artifact_location,
                run_id=run_id,
                model_uuid=logged.model_id,
                model_id=logged.model_id,
            )
            write_package(
                folder, model=model, graph=graph, description=description, card=card, mlflow_model=mlflow_model
            )
            client.log_model_artifacts(logged.model_id, str(folder))
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        status = LoggedModelStatus.READY
    finally:
        client.finalize_logged_model(logged.model_id, status)
    _create_name(client, name)
    with as_default(client.tracking_uri):
        version = client.create_model_version(
            name,
            source=f"models:/{logged.model_id}",
            run_id=run_id,
            tags=dict(tags),
            description=summary[:DESCRIPTION_LENGTH],
            model_id=logged.model_id,
        )
    return int(version.version)


def _judge(client: Any, name: str, version: int, tags: Mapping[str, str], promotion: Promotion) -> tuple[bool, str]:
    """Return whether a new version becomes champion, and why or why not."""
    value = float(tags["objective_value"])
    champion = _champion(client, name)
    if promotion != "automatic":
        why = "promotion is manual" if promotion == "manual" else "it is one point of a front, which a person weighs"
        return False, f"{why}: `python experiments/promote.py {name} --version {version}` makes it champion."
    if math.isnan(value):
        return False, f"its {tags['objective']} is not a number."
    if champion is None:
        if earlier := _earlier_students(client, name, version):
            return False, (
                f"the name has no champion, but earlier versions ({', '.join(map(str, earlier))}), which nobody "
                f"compared: `python experiments/promote.py {name} --version {version}` makes it champion."
            )
        return True, "there was no champion of this name."
    for key, words in (("teacher_hash", "teacher"), ("objective", "objective"), ("exam_hash", "exam")):
        if champion.tags.get(key) != tags[key]:
            return False, (
                f"version {champion.version} stays champion: it had another {words} "
                f"({champion.tags.get(key)}, now {tags[key]}), so the two do not compare."
            )
    best = float(champion.tags["objective_value"])
    better = value > best if tags["direction"] == "maximize" else value < best
    numbers = f"{tags['objective']} {value:.6g} against {best:.6g}"
    if better:
        return True, f"it is better than version {champion.version}: {numbers} ({tags['direction']})."
    return False, f"version {champion.version} stays champion: {numbers} ({tags['direction']})."


def _champion(client: Any, name: str) -> Any | None:
    aliases = client.get_registered_model(name).aliases
    return client.get_model_version(name, aliases[CHAMPION]) if CHAMPION in aliases else None


def _earlier_students(client: Any, name: str, version: int) -> list[int]:
    """Return the versions before this one whose objective is a number: they might be better."""
    found = client.search_model_versions(f"name = '{name}'")
    values = {int(each.version): float(each.tags.get("objective_value", math.nan)) for each in found}
    return sorted(number for number, value in values.items() if number < version and not math.isnan(value))


def _create_name(client: Any, name: str) -> None:
    try:
        client.create_registered_model(name)
    except Exception as error:
        if getattr(error, "error_code", None) != "RESOURCE_ALREADY_EXISTS":
            raise

"""A trained model on a data set: its scores, and those of its teacher beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open

from dfkd.assembly import choose_device
from dfkd.data import ImageSet, RealData, load_dataset
from dfkd.jobs.console import Console
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.students import count_parameters
from dfkd.jobs.teacher import training_key
from dfkd.settings.experiment import ExperimentSettings, TeacherSettings
from dfkd.settings.identity import to_dict
from dfkd.tasks import TaskInput, evaluate
from dfkd.tasks.accuracy import top1
from dfkd.tasks.binary import binary_scores
from dfkd.tasks.protocol import predict_logits
from dfkd.teachers import Teacher, load_teacher
from dfkd.tracking.connection import check_reachable
from dfkd.tracking.home import open_home, resolve_tracking_uri
from dfkd.tracking.model_package import ImageClassifier
from dfkd.tracking.registry_reading import find_teacher, load_foreign, load_registered, version_tags

REGISTRY = "models:/"


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateOptions:
    """Options of ``experiments/evaluate.py``: see its ``--help``."""

    model: str
    split: Literal["train", "validation", "test"] = "test"
    teacher: str | None = None
    tasks: tuple[str, ...] = ()
    json_file: str | None = None
    home: str | None = None
    tracking_uri: str | None = None


def run_evaluation(settings: ExperimentSettings, options: EvaluateOptions, console: Console) -> dict[str, float]:
    """Score a model on one split of the settings' data set, print the scores and return them.

    Raises:
        ValueError: the model, its teacher or the split cannot be had, or a task does not suit them.
        ConnectionError: MLflow is needed and does not answer.
    """
    home = open_home(options.home)
    tracking_uri = resolve_tracking_uri(options.tracking_uri, home=home)
    if needs_registry(settings, options):
        check_reachable(tracking_uri)
    data = load_dataset(settings.dataset)
    images = split_of(data, options.split)
    # A student is read as every trained network is; `Teacher` is a network with what is known of its data.
    model = load(described(options.model, settings), data, tracking_uri)
    source = teacher_source(settings, options, tracking_uri)
    teacher = None if source is None else load(source, data, tracking_uri)
    tasks = options.tasks or default_tasks(settings, data.num_classes)
    device = choose_device(settings)
    if teacher is None:
        scores = score_alone(model, images, tasks, device)
    else:
        scores = score_beside(model, teacher, images, tasks, device)
    console.show(f"{data.title}, {options.split} split: {len(images):,} images")
    console.show(f"  model    {describe(model)}")
    console.show(f"  teacher  {describe(teacher) if teacher else 'none is known; --teacher names one'}")
    for note in notes(options.model, teacher, tracking_uri):
        console.show(f"  note     {note}")
    console.show("\n".join(f"  {name:<32} {value:.4f}" for name, value in scores.items()))
    if options.json_file:
        facts = {"data": data.title, "split": options.split, "images": len(images), "scores": scores}
        facts |= {"model": facts_of(model), "teacher": facts_of(teacher) if teacher else None}
        facts |= {"dataset": to_dict(settings.dataset), "commit": commit(), "versions": versions()}
        _write_json(Path(options.json_file), facts)
    return scores


def needs_registry(settings: ExperimentSettings, options: EvaluateOptions) -> bool:
    """Whether MLflow has to be asked: for the model, or for the teacher that was trained with these settings."""
    sources = (options.model, options.teacher or settings.teacher.weights)
    return any(source is None or source.startswith(REGISTRY) for source in sources)


def split_of(data: RealData, split: str) -> ImageSet:
    """Return one split; raise ValueError that lists those there are."""
    if split not in data.splits:
        raise ValueError(f"--split: {data.title} has no {split} images; it has {', '.join(data.splits)}.")
    return data.splits[split]


def described(weights: str, settings: ExperimentSettings) -> TeacherSettings:
    """Return how to read a model: as it describes itself, else as the config's ``teacher`` says."""
    if weights.startswith(REGISTRY) or _describes_itself(Path(weights).expanduser()):
        return TeacherSettings(weights=weights)
    return replace(settings.teacher, weights=weights, shifted=False)


def _describes_itself(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            return "architecture" in (file.metadata() or {})
    except (OSError, SafetensorError):  # another kind of file, or a fault that `load_teacher` will name
        return False


def teacher_source(settings: ExperimentSettings, options: EvaluateOptions, tracking_uri: str) -> TeacherSettings | None:
    """Return where the teacher is: as the command says, else as the config says, else as the registry knows."""
    if options.teacher is not None:
        return described(options.teacher, settings)
    if settings.teacher.weights is not None:
        return settings.teacher
    uri = find_teacher(tracking_uri, training_key(settings))
    return None if uri is None else replace(settings.teacher, weights=uri)


def load(source: TeacherSettings, data: RealData, tracking_uri: str) -> Teacher:
    """Load a trained network and check it against the data."""
    return load_teacher(
        source,
        image_shape=data.image_shape,
        class_names=data.class_names,
        registry=partial(load_registered, tracking_uri=tracking_uri),
        unpickle=partial(load_foreign, tracking_uri=tracking_uri, trust_pickle=source.trust_pickle),
    )


def default_tasks(settings: ExperimentSettings, num_classes: int) -> tuple[str, ...]:
    """Return the config's tasks, and for two classes what counts there."""
    return tuple(dict.fromkeys((*settings.tasks, "binary"))) if num_classes == 2 else settings.tasks


def score_beside(
    model: Teacher, teacher: Teacher, images: ImageSet, tasks: Sequence[str], device: torch.device
) -> dict[str, float]:
    """Score a model beside its teacher, each under its own normalisation."""
    task_input = TaskInput(
        student=_classifier(model, device),
        teacher=_classifier(teacher, device),
        images=images,
        normalise=lambda pixels: pixels,  # both classifiers normalise inside
        device=device,
    )
    return evaluate(tasks, task_input)


def score_alone(model: Teacher, images: ImageSet, tasks: Sequence[str], device: torch.device) -> dict[str, float]:
    """Score a model of which no teacher is known: what tasks say of the model itself.

    Raises:
        ValueError: if no task is left, because all of them compare with a teacher.
    """
    logits = predict_logits(_classifier(model, device), images.images, normalise=lambda pixels: pixels, device=device)
    labels = images.labels
    scores: dict[str, float] = {}
    if "accuracy" in tasks:
        scores["accuracy/top1"] = top1(logits, labels)
    if "binary" in tasks and logits.shape[1] == 2:
        scores |= {f"binary/{name}": value for name, value in binary_scores(logits, labels).items()}
    if not scores:
        raise ValueError(f"--task: {', '.join(tasks)} needs a teacher, and none is known. Give --teacher.")
    return scores


def _classifier(network: Teacher, device: torch.device) -> ImageClassifier:
    return ImageClassifier(network.model, mean=network.mean, std=network.std).to(device).eval()


def notes(model: str, teacher: Teacher | None, tracking_uri: str) -> list[str]:
    """Return what a reader must know of the comparison."""
    if teacher is None:
        return []
    found = ["shifted teacher: trained on other images than these"] if teacher.shifted else []
    tags = version_tags(model, tracking_uri=tracking_uri) if model.startswith(REGISTRY) else {}
    if tags.get("kind") == "student" and tags["teacher_hash"] != teacher.hash:
        found.append(f"this student was distilled from another teacher (weights {tags['teacher_hash'][:16]})")
    return found


def describe(network: Teacher) -> str:
    """Return origin, architecture and size of a network in one line."""
    return f"{network.provenance}: {network.architecture}, {count_parameters(network.model):,} parameters"


def facts_of(network: Teacher) -> dict[str, Any]:
    """Return what a result file says of a network."""
    facts = {"source": network.provenance, "architecture": network.architecture, "hash": network.hash}
    return facts | {"parameters": count_parameters(network.model), "shifted": network.shifted}


def _write_json(file: Path, facts: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(facts, indent=1))

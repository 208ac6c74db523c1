"""A trained model on a data set: its scores, and those of its teacher beside them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dfkd.assembly import choose_device
from dfkd.data import ImageSet, RealData, load_dataset
from dfkd.jobs.command import open_output
from dfkd.jobs.console import Console
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.evaluate_options import REGISTRY, EvaluateOptions, needs_registry
from dfkd.jobs.evaluated_networks import described, of_networks, read_network, teacher_source
from dfkd.jobs.plain_json import plain_json
from dfkd.jobs.probe_cache import known_probe_set
from dfkd.jobs.students import count_parameters
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import shareable
from dfkd.settings.objectives import OF_FEATURES
from dfkd.tasks import WITHOUT_LABELS, TaskInput, evaluate
from dfkd.tasks.accuracy import top1
from dfkd.tasks.binary import binary_scores
from dfkd.tasks.calibration import expected_calibration_error
from dfkd.tasks.corruption import accuracies
from dfkd.tasks.privacy import FEWEST_NON_MEMBERS
from dfkd.tasks.protocol import predict_logits
from dfkd.tasks.representation import on_the_sphere
from dfkd.teachers import Teacher
from dfkd.tracking.abandoned import end_abandoned_runs
from dfkd.tracking.connection import check_reachable
from dfkd.tracking.home import open_home, resolve_tracking_uri
from dfkd.tracking.registry_reading import version_tags

CKA = "representation/cka"  # what of that task compares with a teacher


def run_evaluation(settings: ExperimentSettings, options: EvaluateOptions, console: Console) -> dict[str, float]:
    """Score a model on one split of the settings' data set, print the scores and return them.

    Raises:
        ValueError: the model, its teacher or the split cannot be had, or a task does not suit them.
        ConnectionError: MLflow is needed and does not answer.
    """
    home = open_home(options.home)
    tracking_uri = resolve_tracking_uri(options.tracking_uri, home=home)
    json_file = open_output(options.json_file)
    if needs_registry(settings, options):
        check_reachable(tracking_uri)
        for line in end_abandoned_runs(home, tracking_uri):
            console.say(line)
    data = load_dataset(settings.dataset)
    images = split_of(data, options.split)
    tasks = options.tasks or default_tasks(settings, data.num_classes)
    # A student is read as every trained network is; `Teacher` is a network with what is known of its data.
    read = partial(read_network, data=data, tasks=tasks, seed=settings.seed, tracking_uri=tracking_uri)
    model = read(described(options.model, settings, tracking_uri))
    source = teacher_source(settings, options, data, tracking_uri)
    teacher = None if source is None else read(source)
    device = choose_device(settings)
    if teacher is None:
        scores = score_alone(model, images, tasks, device)
    else:
        given = members_beside(data, options, teacher, home) if "privacy" in tasks else {}
        scores = score_beside(model, teacher, images, tasks, device, **given)
    console.show(f"{data.title}, {options.split} split: {len(images):,} images")
    console.show(f"  model    {describe(model)}")
    label = teacher.label if teacher else "teacher"
    console.show(f"  {label:<8} {describe(teacher) if teacher else 'none is known; --teacher names one'}")
    networks = [model] if teacher is None else [model, teacher]
    said = notes(options.model, teacher, tracking_uri) + of_networks(networks, data, tasks)
    said += left_out(tasks, scores, images)
    said += of_privacy(scores, images)
    for note in said:
        console.show(f"  note     {note}")
    shifted = f" ({label})" if teacher and teacher.shifted else ""
    rows = [f"  {name:<32} {value:.4f}{shifted if 'teacher' in name else ''}" for name, value in scores.items()]
    console.show("\n".join(rows))
    if json_file:
        facts = {"data": data.title, "split": options.split, "images": len(images), "scores": scores}
        facts |= {"model": facts_of(model), "teacher": facts_of(teacher) if teacher else None}
        facts |= {"notes": said, "dataset": shareable(options.tracking.told(settings))["dataset"]}
        facts |= {"commit": commit(), "versions": versions()}
        json_file.write_text(plain_json(facts))
    return scores


def split_of(data: RealData, split: str) -> ImageSet:
    """Return one split; raise ValueError that lists those there are."""
    if split not in data.splits:
        raise ValueError(f"--split: {data.title} has no {split} images; it has {', '.join(data.splits)}.")
    return data.splits[split]


def default_tasks(settings: ExperimentSettings, num_classes: int) -> tuple[str, ...]:
    """Return the config's tasks, and for two classes what counts there."""
    return tuple(dict.fromkeys((*settings.tasks, "binary"))) if num_classes == 2 else settings.tasks


def members_beside(data: RealData, options: EvaluateOptions, teacher: Teacher, home: Path) -> dict[str, Any]:
    """Return what ``privacy`` asks for besides: the training images, and the teacher's probe set if the home has it.

    Raises:
        ValueError: the images that are scored are the training images themselves.
    """
    if options.split == "train":
        raise ValueError("--split: 'privacy' compares the train split with another one. Take validation or test.")
    probe = known_probe_set(teacher.hash, home)
    return {"members": data.train, "synthetic": None if probe is None else probe.images}


def score_beside(
    model: Teacher, teacher: Teacher, images: ImageSet, tasks: Sequence[str], device: torch.device, **given: Any
) -> dict[str, float]:
    """Score a model beside its teacher, each under its own normalisation; ``given`` are more of ``TaskInput``.

    Raises:
        ValueError: if a task does not suit the data, or all of them need labels and there are none.
    """
    if images.labels is None and not set(tasks) & set(WITHOUT_LABELS):
        raise ValueError(
            f"--task: {', '.join(tasks)} needs labels, and these images have none. "
            f"What needs none: {', '.join(WITHOUT_LABELS)}."
        )
    task_input = TaskInput(
        student=model.model.to(device).eval(),
        teacher=teacher.model.to(device).eval(),
        images=images,
        normalise=model.normalise,
        teacher_normalise=teacher.normalise,
        device=device,
        **given,
    )
    return evaluate(tasks, task_input)


def score_alone(model: Teacher, images: ImageSet, tasks: Sequence[str], device: torch.device) -> dict[str, float]:
    """Score a model of which no teacher is known: what tasks say of the model itself.

    Raises:
        ValueError: if no task is left, because all of them compare with a teacher, or there are no labels.
    """
    network, scores = model.model.to(device).eval(), dict[str, float]()
    if "representation" in tasks:
        _, found = on_the_sphere(network, images.images, normalise=model.normalise, device=device, what="model")
        scores = {f"representation/{name}": value for name, value in found.items()}
    if set(tasks) <= set(OF_FEATURES) or (scores and images.labels is None):
        return scores
    labels = images.require_labels()
    logits = predict_logits(network, images.images, normalise=model.normalise, device=device)
    if "accuracy" in tasks:
        scores["accuracy/top1"] = top1(logits, labels)
    if "binary" in tasks and logits.shape[1] == 2:
        scores |= {f"binary/{name}": value for name, value in binary_scores(logits, labels).items()}
    if "calibration" in tasks:
        scores["calibration/ece"] = expected_calibration_error(logits, labels)
    if "corruption" in tasks:
        each = accuracies(network, images, normalise=model.normalise, device=device)
        scores["corruption/top1"] = statistics.fmean(each.values())
        scores |= {f"corruption/{name}": value for name, value in each.items()}
    if not scores:
        raise ValueError(f"--task: {', '.join(tasks)} needs a teacher, and none is known. Give --teacher.")
    return scores


def notes(model: str, teacher: Teacher | None, tracking_uri: str) -> list[str]:
    """Return what a reader must know of the comparison."""
    if teacher is None:
        return []
    found = [f"{teacher.label}: trained on other images than these"] if teacher.shifted else []
    tags = version_tags(model, tracking_uri=tracking_uri) if model.startswith(REGISTRY) else {}
    if tags.get("kind") == "student" and tags["teacher_hash"] != teacher.hash:
        found.append(f"this student was distilled from another teacher ({tags['teacher_hash'][:16]})")
    return found


def left_out(tasks: Sequence[str], scores: Mapping[str, float], images: ImageSet) -> list[str]:
    """Return in words which tasks gave no score, and why."""
    missing = [task for task in tasks if not any(name.startswith(f"{task}/") for name in scores)]
    without_teacher = "representation" in {*tasks} - {*missing} and CKA not in scores
    found = [f"not scored: {CKA} (no teacher is known)"] if without_teacher else []
    if not missing:
        return found
    # Beside a teacher a task without labels is left out, alone one that compares; `binary` refuses other data there.
    why = "these images have no labels" if images.labels is None else "no teacher is known, or not two classes"
    return [f"not scored: {', '.join(missing)} ({why})", *found]


def of_privacy(scores: Mapping[str, float], images: ImageSet) -> list[str]:
    """Return in words what ``privacy`` could not say, and what it compared."""
    if "privacy/auc" not in scores:
        return []
    found = ["privacy: the train split's images are taken for those that the teacher was trained on"]
    if len(images) < FEWEST_NON_MEMBERS:
        found.append(
            f"not scored: privacy/tpr_at_fpr_0.001 (0.1 % of {len(images):,} non-members is less than one image; it "
            f"takes {FEWEST_NON_MEMBERS:,})"
        )
    if "privacy/nearest_member" not in scores:
        found.append("not scored: privacy/nearest_member (this home has no probe set of the teacher)")
    return found


def describe(network: Teacher) -> str:
    """Return origin, architecture and size of a network in one line."""
    return f"{network.provenance}: {network.architecture}, {count_parameters(network.model):,} parameters"


def facts_of(network: Teacher) -> dict[str, Any]:
    """Return what a result file says of a network."""
    facts = {"source": network.provenance, "architecture": network.architecture, "hash": network.hash}
    return facts | {"parameters": count_parameters(network.model), "shifted": network.shifted}

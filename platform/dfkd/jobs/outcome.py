"""The end of a search: the chosen student is judged once, recorded and registered. What was done is not done twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dfkd.cluster.trial import last_state
from dfkd.cluster.worker import describe_device
from dfkd.jobs.choice import Choice, choose_trial
from dfkd.jobs.console import first_line
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.floor import FloorRun
from dfkd.jobs.judging import judge_once, looks, score_floor
from dfkd.jobs.probe_cache import exam_hash
from dfkd.jobs.running import Running
from dfkd.jobs.search_files import search_files
from dfkd.jobs.start_up import StartUp, start_up
from dfkd.jobs.story import description
from dfkd.jobs.students import count_parameters, load_student
from dfkd.jobs.teacher import description_of
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import shareable
from dfkd.tasks.cost import latency_milliseconds
from dfkd.teachers import save_teacher
from dfkd.tracking.card import StudentCard
from dfkd.tracking.connection import told_when_unreachable
from dfkd.tracking.protocol import Tracker
from dfkd.tracking.registry import RegisteredModel, register_student


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a search ended with.

    Attributes:
        choice: the trial, and how far it can be trusted.
        scores: of its student on the test split; empty without one.
        floor_scores: of KD on random noise there; empty where it failed.
        student_parameters: count.
        teacher_parameters: count.
        teacher_label: what tables call the teacher.
        start_up: how long its trials took to begin.
        registered: the version in the registry.
        looks: that other students of this search were scored on the test split before, if they were; in words.
    """

    choice: Choice
    scores: Mapping[str, float]
    floor_scores: Mapping[str, float]
    student_parameters: int
    teacher_parameters: int
    teacher_label: str
    start_up: StartUp
    registered: RegisteredModel
    looks: str = ""


def conclude(running: Running, parent: Tracker, floor: FloorRun | None) -> Outcome:
    """Choose a student, judge it on the test split, register it, and tell the story in the parent run.

    The student comes first: what else can fail must not cost it. A search that goes on may come here again. The same
    student is neither judged nor registered a second time.

    Raises:
        ValueError: no trial ran to its end.
        ConnectionError: MLflow is away; the student waits in the search's folder.
    """
    choice = choose_trial(running)
    plan, teacher = running.plan(), running.materials.teacher
    settings = plan.resolve(choice.record.params)
    state = last_state(plan.trial_uri(settings), world_size=plan.workers)
    check_is_whole(choice, state["report"])
    student = load_student(settings, teacher, state)
    judgement = judge_once(running, choice, settings, student)
    scores = judgement.scores
    registered = register_once(running, choice, settings, student, scores)
    parent.set_tags({"dfkd.chosen": choice.record.key})  # with the version, whatever fails after it
    floor_scores = score_floor(running, floor, settings)
    parent.log_metrics(
        {f"test/{name}": value for name, value in scores.items()}
        | {f"floor/{name}": value for name, value in floor_scores.items()}
        | {f"trust/{name}": value for name, value in choice.trust.numbers().items()},
        step=0,
    )
    log_files(running, parent, search_files(running, settings, state, judgement.confusion, choice.front))
    outcome = Outcome(
        choice=choice,
        scores=scores,
        floor_scores=floor_scores,
        student_parameters=count_parameters(student),
        teacher_parameters=count_parameters(teacher.model),
        teacher_label=teacher.label,
        start_up=start_up(running.records.all()),
        registered=registered,
        looks=looks(running, choice.record.key),
    )
    parent.set_description(description(running, outcome))
    return outcome


def check_is_whole(choice: Choice, report: Mapping[str, Any]) -> None:
    """Raise ValueError if the newest sound checkpoint is not that of the epoch by which the trial was chosen."""
    found, chosen = report["epoch"], choice.record.metrics.get("epoch")
    if chosen is not None and found != chosen:
        raise ValueError(
            f"trial {choice.record.number + 1} was chosen by its epoch {chosen + 1}, and its newest checkpoint that "
            f"can be read is of epoch {found + 1}: the last one is damaged. Run the search anew."
        )


def log_files(running: Running, parent: Tracker, made_by: Mapping[str, Callable[[], Mapping[str, bytes]]]) -> None:
    """Give the parent run its tables and plots; one that cannot be made is told in a line, and left out."""
    for what, make in made_by.items():
        try:
            files = make()
        except Exception as error:  # of whatever library draws it
            running.console.say(f"no {what}: {type(error).__name__}: {first_line(error)}")
            continue
        for name, content in files.items():
            parent.log_artifact(name, content)


def register_once(
    running: Running, choice: Choice, settings: ExperimentSettings, student: nn.Module, scores: Mapping[str, float]
) -> RegisteredModel:
    """Register the student, unless an earlier end of this search did, and keep its weights in the search's folder."""
    known = running.folder.facts().get("registrations", {})
    if choice.record.key in known:
        return RegisteredModel(**known[choice.record.key])
    teacher, architecture = running.materials.teacher, settings.student.network
    copy = running.folder.path / "student.safetensors"
    save_teacher(copy, dataclasses.replace(teacher, model=student, architecture=architecture, hash=""))
    try:
        with told_when_unreachable(running.tracking_uri):
            registered = register_student(
                running.tracking_uri,
                running.space.settings.name,
                model=student,
                description=description_of(teacher, architecture=architecture),
                card=make_card(running, choice, settings, student, scores),
                run_id=running.tracking.parent_run_id,
                promotion="front" if choice.front else running.space.settings.promotion,
            )
    except ConnectionError as error:
        raise ConnectionError(
            f"the student was chosen and judged, and is not registered: {error} It waits as '{copy}'; the same command "
            "with --resume registers it."
        ) from None
    running.folder.note(registrations=known | {choice.record.key: dataclasses.asdict(registered)})
    return registered


def make_card(
    running: Running,
    choice: Choice,
    settings: ExperimentSettings,
    student: nn.Module,
    scores: Mapping[str, float],
) -> StudentCard:
    """Return the card of the chosen student."""
    teacher, objective = running.materials.teacher, running.space.settings.objective
    test = running.data.test
    return StudentCard(
        method=settings.synthesis.TITLE,
        teacher_name=teacher.architecture,
        teacher_hash=teacher.hash,
        teacher_shifted=teacher.shifted,
        teacher_parameters=count_parameters(teacher.model),
        student_parameters=count_parameters(student),
        settings=shareable(settings),
        scores={f"test/{name}": value for name, value in scores.items()},
        learnt_from=settings.learnt_from,
        data_free=not settings.synthesis.FROM_REAL_IMAGES,
        selection_data=running.space.settings.selection_data,
        objective=objective.metric,
        objective_value=choice.record.metrics[running.objective.metric],
        direction=objective.goal,
        exam_hash=exam_hash(running.objective.metric, running.materials),
        seed=settings.seed,
        commit=commit(),
        versions=versions(),
        num_classes=len(teacher.class_names),
        image_shape=teacher.image_shape,
        latency=latency_in_words(student, teacher.image_shape),
        teacher_provenance=settings.teacher.trust,
        scored_on=None
        if test is None
        else f"the test split of {running.data.title} ({len(test):,} images){looks(running, choice.record.key)}",
    )


def latency_in_words(student: nn.Module, image_shape: tuple[int, int, int]) -> str:
    """Return how long an answer to one image takes here, which other work on this machine makes longer."""
    milliseconds = latency_milliseconds(student, image_shape)
    device = describe_device(next(student.parameters()).device)
    return f"{milliseconds:.3g} ms for one image ({device}, {torch.get_num_threads()} threads), where it was registered"

"""How a search's end is told: accuracies, teacher and data by their names, and what two workers are compared with."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from dfkd.data.real_data import RealData
from dfkd.jobs.last_screen import last_screen
from dfkd.jobs.outcome_file import outcome_as_json
from dfkd.jobs.phases import find_floor
from dfkd.jobs.story import against_one_worker, description, headline
from dfkd.jobs.trial_records import TrialRecord
from dfkd.settings.identity import to_dict
from dfkd.tracking.connection import import_mlflow

ACCURACY = "val/accuracy/top1"


def record(**values: Any) -> TrialRecord:
    return TrialRecord(
        **{"key": "k", "number": 0, "params": {}, "workers": 1, "seed": 0, "is_default": True, "status": "complete"}
        | values
    )


SHORT = {ACCURACY: 0.9, "epoch": 8, "time/elapsed_seconds": 30.0}
WHOLE = {ACCURACY: 0.97, "epoch": 21, "time/elapsed_seconds": 80.0, "finished": True}


LATER = WHOLE | {ACCURACY: 0.91}


@pytest.mark.parametrize(
    ("of_two", "at_check", "two", "one"),
    [
        (LATER, None, "validation accuracy 91.0 % in 80 s", "97.0 % in 80 s"),
        (LATER, SHORT, "validation accuracy 91.0 % in 80 s", "97.0 % in 80 s"),
        (SHORT | {ACCURACY: 0.91}, SHORT, "validation accuracy after 9 epochs 91.0 % in 30 s", "90.0 % in 30 s"),
        (SHORT, None, "validation accuracy after 9 epochs 90.0 % in 30 s", "-"),
        (SHORT | {"epoch": 3}, SHORT, "validation accuracy after 4 epochs 90.0 % in 30 s", "-"),
        ({}, SHORT, "agreement on the probe -", "-"),
    ],
)
def test_two_workers_are_held_against_one_after_equally_many_epochs(
    of_two: dict[str, Any], at_check: dict[str, Any] | None, two: str, one: str
) -> None:
    check = record(workers=2, metrics=of_two)
    choice: Any = SimpleNamespace(check=check, default=record(metrics=WHOLE, metrics_at_check=at_check))
    assert f"{two} with the default settings (one worker: {one})" in against_one_worker(choice)[0]


def test_a_failed_default_leaves_nothing_to_compare_with() -> None:
    choice: Any = SimpleNamespace(check=record(workers=2, metrics=SHORT), default=None)
    assert "90.0 % in 30 s with the default settings (one worker: -)" in against_one_worker(choice)[0]


@pytest.mark.parametrize(
    ("scores", "floor", "told"),
    [
        (
            {"accuracy/top1": 0.972, "accuracy/teacher_top1": 0.992},
            {"accuracy/top1": 0.831},
            "**97.2 %** of the test images (shifted teacher 99.2 %; KD on random noise 83.1 %) "
            "with **10 of 60 parameters**.",
        ),
        (
            {"accuracy/top1": 0.972, "accuracy/teacher_top1": 0.992},
            {},
            "**97.2 %** of the test images (shifted teacher 99.2 %) with **10 of 60 parameters**.",
        ),
        ({}, {}, "**10 of 60 parameters.** How accurate it is on real images is not known."),
    ],
)
def test_the_first_line_says_what_was_reached(scores: dict[str, float], floor: dict[str, float], told: str) -> None:
    outcome: Any = SimpleNamespace(
        scores=scores, floor_scores=floor, student_parameters=10, teacher_parameters=60, teacher_label="shifted teacher"
    )
    assert headline(outcome) == told


def test_without_any_real_image_the_story_says_that_accuracy_is_unknown(ended: Callable[..., Any]) -> None:
    search = ended()
    names = search.running.materials.teacher.class_names
    nothing = RealData("nothing", names, train=None, validation=None, test=None, shape_without_images=(1, 8, 8))
    materials = dataclasses.replace(search.running.materials, validation=None)
    search.running = dataclasses.replace(search.running, data=nothing, materials=materials)
    assert find_floor(search.running) is None
    search.record(search.default)
    outcome = search.conclude()
    assert (outcome.scores, outcome.registered.uri) == ({}, "models:/tiny/1")
    assert "there are no test images to judge it on" in search.said.getvalue()
    screen = last_screen(outcome, tracking_uri=search.running.tracking_uri, run_url="", seconds=1.0)
    assert "accuracy unknown: no test images" in screen and "noise floor" not in screen
    assert "There are no test images" in description(search.running, outcome)


def test_a_shifted_teacher_is_called_that_wherever_its_score_stands(ended: Callable[..., Any]) -> None:
    search = ended()
    shifted = dataclasses.replace(search.running.materials.teacher, shifted=True)
    materials = dataclasses.replace(search.running.materials, teacher=shifted)
    search.running = dataclasses.replace(search.running, materials=materials)
    search.record(search.default)
    outcome = search.conclude()
    screen = last_screen(outcome, tracking_uri=search.running.tracking_uri, run_url="", seconds=1.0)
    assert re.search(r"^  shifted teacher +\d+\.\d % ", screen, flags=re.MULTILINE)
    assert not re.search(r"^  teacher ", screen, flags=re.MULTILINE)
    assert "| shifted teacher | " in description(search.running, outcome)
    facts = json.loads(outcome_as_json(search.running, outcome, seconds=1.0))
    assert facts["teacher"] == "shifted teacher"
    assert facts["settings"] == to_dict(search.running.space.resolve({}))


def test_a_story_says_what_labels_chose_the_student(ended: Callable[..., Any]) -> None:
    shots = (
        "further_objectives: {few: {type: transfer, "
        "by: {task: few_shot, shots: [1], dataset: {name: digits, title: eels}}}}\n"
    )
    search = ended(extra=shots)
    search.record(search.default, further__few=0.5)
    outcome = search.conclude()
    words = "no real image (`agreement`) and validation images of eels with their labels (`few`)"
    assert words in description(search.running, outcome)
    client = import_mlflow().MlflowClient(search.running.tracking_uri)
    card = client.get_model_version("tiny", "1").description
    assert f"**Data used for the choice** {words}" in card
    assert "**Learnt from** synthetic images, made from the teacher\n" in card  # orthogonal rows: no names


def test_a_student_of_real_images_is_not_called_data_free(ended: Callable[..., Any]) -> None:
    search = ended()
    search.record(search.default)
    outcome = search.conclude()
    assert "the best data-free student" in description(search.running, outcome)
    space = search.running.space
    space.settings.experiment["synthesis"] = {"method": "real_images"}
    said = description(search.running, outcome)
    assert "the best student" in said and "learnt from real images (the training images)" in said

"""How a search's end is told: what the run with two workers is compared with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dfkd.jobs.story import against_one_worker, headline
from dfkd.jobs.trial_records import TrialRecord

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

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


@pytest.mark.parametrize(
    ("status", "at_check", "told"),
    [
        ("complete", None, "validation accuracy 91.0 % with the default settings in 60 s (one worker: 97.0 %, 80 s)"),
        (
            "stopped",
            {ACCURACY: 0.9, "epoch": 8, "time/elapsed_seconds": 30.0},
            "validation accuracy after 9 epochs 91.0 % with the default settings in 60 s (one worker: 90.0 %, 30 s)",
        ),
    ],
)
def test_two_workers_are_held_against_one_after_equally_many_epochs(
    status: str, at_check: dict[str, Any] | None, told: str
) -> None:
    check = record(workers=2, status=status, seconds=60.0, metrics={ACCURACY: 0.91, "epoch": 8})
    whole = {ACCURACY: 0.97, "epoch": 21, "time/elapsed_seconds": 80.0}
    choice: Any = SimpleNamespace(check=check, default=record(metrics=whole, metrics_at_check=at_check))
    assert told in against_one_worker(choice)[0]


def test_a_failed_default_leaves_nothing_to_compare_with() -> None:
    choice: Any = SimpleNamespace(check=record(workers=2, seconds=60.0, metrics={ACCURACY: 0.91}), default=None)
    assert "91.0 % with the default settings in 60 s (one worker: -)" in against_one_worker(choice)[0]


@pytest.mark.parametrize(
    ("scores", "floor", "told"),
    [
        (
            {"accuracy/top1": 0.972, "accuracy/teacher_top1": 0.992},
            {"accuracy/top1": 0.831},
            "**97.2 %** of the test images (shifted teacher 99.2 %; KD on random noise 83.1 %) with **10 of 60 parameters**.",
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

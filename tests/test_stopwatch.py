from __future__ import annotations

import pytest
import torch

from dfkd import stopwatch
from dfkd.stopwatch import Stopwatch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets."""
    now = [0.0]
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now[0])
    return now


def test_a_second_counts_for_the_innermost_part(clock: list[float]) -> None:
    watch = Stopwatch(torch.device("cpu"))
    with watch.part("distillation"):
        clock[0] += 1
        with watch.part("synthesis"):
            clock[0] += 10
        clock[0] += 100
    clock[0] += 1000
    with watch.part("synthesis"):
        clock[0] += 5
    assert watch.read() == {"distillation": 101, "synthesis": 15}


def test_reading_starts_anew(clock: list[float]) -> None:
    watch = Stopwatch(torch.device("cpu"))
    with watch.part("synthesis"):
        clock[0] += 1
    watch.read()
    assert watch.read() == {}


def test_a_part_that_fails_is_counted_and_left(clock: list[float]) -> None:
    watch = Stopwatch(torch.device("cpu"))
    with pytest.raises(ValueError), watch.part("synthesis"):
        clock[0] += 1
        raise ValueError
    with watch.part("distillation"):
        clock[0] += 2
    assert watch.read() == {"synthesis": 1, "distillation": 2}

from __future__ import annotations

import pytest

from dfkd.jobs.time_left import seconds_left


@pytest.mark.parametrize(
    ("running", "to_start", "concurrency", "seconds"),
    [
        ([], 0, 1, 0),
        ([], 3, 1, 300),
        ([], 3, 2, 200),
        ([0.5], 0, 4, 50),  # nobody helps a trial that runs alone
        ([0.5, 0.1], 0, 2, 50),
        ([0.5, 0.1], 1, 2, 110),  # the next one starts where there is room first
        ([0.5, 0.1], 2, 2, 150),
        ([0.5], 1, 2, 100),
        ([1.0, 1.0, 1.0], 0, 2, 100),  # as many as run have room
        ([], 2, 0, 200),
    ],
)
def test_the_time_left_is_until_the_last_trial_ends(
    running: list[float], to_start: int, concurrency: int, seconds: float
) -> None:
    left = seconds_left(mean_seconds=100, running=running, to_start=to_start, concurrency=concurrency)
    assert left == pytest.approx(seconds)

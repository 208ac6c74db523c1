from __future__ import annotations

from dfkd.jobs.start_up import StartUp, start_up
from dfkd.jobs.trial_records import TrialRecord


def record(number: int, workers: int, startup: float | None, first: float | None) -> TrialRecord:
    return TrialRecord(
        key=str(number), number=number, params={}, workers=workers, seed=0, is_default=True,
        startup_seconds=startup, first_report_seconds=first,
    )  # fmt: skip


def test_trials_in_their_own_process_are_held_against_those_on_ray_train() -> None:
    found = start_up(
        [record(0, 2, 14.0, 55.0), record(1, 1, 9.0, 80.0), record(2, 1, 0.5, 85.0), record(3, 1, 0.3, 2.0)]
        + [record(4, 1, None, None)]  # has not reported
    )
    assert found == StartUp(first_report=2.0, in_process=(9.0, 0.5, 0.3), on_ray_train=(14.0,))
    assert found.sentence() == (
        "first report after 2 s; a trial is ready after 0.5 s (median; the first after 9.0 s); "
        "on Ray Train after 14.0 s"
    )


def test_a_search_without_a_report_says_nothing() -> None:
    assert start_up([record(0, 1, None, None)]).sentence() == ""

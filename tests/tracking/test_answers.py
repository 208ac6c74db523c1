from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dfkd.tracking import delivery
from dfkd.tracking.answers import has_lost_database, is_refusal, was_away
from dfkd.tracking.connection import import_mlflow, told_when_unreachable
from dfkd.tracking.mlflow_store import MlflowStore
from dfkd.tracking.mlflow_tracker import MlflowTracking

BROKEN_OFF = "(psycopg2.DatabaseError) server closed the connection unexpectedly"  # as PostgreSQL's crash gave it


@pytest.fixture
def answer() -> Callable[..., Exception]:
    """Make an error as MLflow's client raises it."""

    def answer(code: str, message: str) -> Exception:
        import_mlflow()
        from mlflow.exceptions import RestException

        return RestException({"error_code": code, "message": message})

    return answer


@pytest.mark.parametrize(
    "message",
    [
        BROKEN_OFF,
        "(psycopg2.InterfaceError) connection already closed",
        "(pymysql.err.InterfaceError) (0, '')",
        "QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00",
    ],
)
def test_a_request_that_lost_its_database_is_not_refused(answer: Callable[..., Exception], message: str) -> None:
    error = answer("BAD_REQUEST", message)
    assert has_lost_database(error) and was_away(error) and not is_refusal(error)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("BAD_REQUEST", "(psycopg2.errors.StringDataRightTruncation) value too long for type character varying(250)"),
        ("BAD_REQUEST", "(sqlite3.IntegrityError) NOT NULL constraint failed: metrics.value"),
        ("INVALID_PARAMETER_VALUE", BROKEN_OFF),
        ("RESOURCE_DOES_NOT_EXIST", "Run with id=1 not found"),
    ],
)
def test_a_wrong_request_is_refused(answer: Callable[..., Exception], code: str, message: str) -> None:
    error = answer(code, message)
    assert is_refusal(error) and not has_lost_database(error) and not was_away(error)


def test_what_lost_its_database_in_the_middle_arrives_later(
    home: Any, uri: str, client: Any, answer: Callable[..., Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "RETRY_SECONDS", (0.01, 0.01))
    for name in ("open_run", "log_batch", "close_run"):
        _fail_first(monkeypatch, name, answer("BAD_REQUEST", BROKEN_OFF))
    tracking = MlflowTracking(uri, home, "broken-off")
    tracker = tracking.open_parent("digits", "broken off", {})
    tracker.log_metrics({"loss": 1.0}, step=0)
    tracker.close("FINISHED")
    assert tracking.close() is None
    assert not (tracking.journal_folder / "refused.jsonl").exists()
    every = client(uri)
    ids = [experiment.experiment_id for experiment in every.search_experiments()]
    (run,) = every.search_runs(ids, "tags.\"dfkd.search_id\" = 'broken-off'")
    assert run.info.status == "FINISHED"
    assert [point.step for point in every.get_metric_history(run.info.run_id, "loss")] == [0]


def _fail_first(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    """Have the first call of a method fail."""
    method, errors = getattr(MlflowStore, name), [error]

    def call(*arguments: Any, **keywords: Any) -> Any:
        if errors:
            raise errors.pop()
        return method(*arguments, **keywords)

    monkeypatch.setattr(MlflowStore, name, call)


def test_mlflow_that_was_away_for_a_moment_is_told_as_such(uri: str, answer: Callable[..., Exception]) -> None:
    with pytest.raises(ConnectionError, match=r"was away for a moment \(BAD_REQUEST: \(psycopg2"):
        with told_when_unreachable(uri):
            raise answer("BAD_REQUEST", BROKEN_OFF)
    with pytest.raises(KeyError), told_when_unreachable(uri):
        raise KeyError("a defect of ours")

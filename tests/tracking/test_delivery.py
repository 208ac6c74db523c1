"""Against a real MLflow server that is killed and started again."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dfkd.tracking import delivery
from dfkd.tracking.connection import check_reachable
from dfkd.tracking.delivery import steps
from dfkd.tracking.journal import Event
from dfkd.tracking.mlflow_tracker import MlflowTracking

DELIVER = Path(__file__).parents[2] / "experiments" / "deliver.py"


def _run_of(client: Any, server: Any, tracking_id: str, name: str) -> Any:
    every = client(server.uri)
    ids = [experiment.experiment_id for experiment in every.search_experiments()]
    runs = every.search_runs(ids, f"tags.\"dfkd.search_id\" = '{tracking_id}' and attributes.run_name = '{name}'")
    assert len(runs) == 1, [run.info.run_name for run in runs]
    return runs[0]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry often, so that a test need not wait."""
    monkeypatch.setattr(delivery, "RETRY_SECONDS", (0.2, 0.5))


@pytest.fixture
def running(server: Any) -> Any:
    """The server, running when the test begins."""
    server.start()
    return server


def test_a_run_keeps_its_order_and_shares_requests() -> None:
    events = [
        Event(key, kind, {}, time_ms)
        for time_ms, (key, kind) in enumerate(
            [("a", "open"), ("b", "open"), ("a", "params"), ("b", "metrics"), ("a", "metrics"), ("a", "image"),
             ("a", "metrics"), ("a", "tags"), ("a", "close")]
        )  # fmt: skip
    ]  # fmt: skip
    assert [[event.time_ms for event in step] for step in steps(events)] == [[0], [2, 4], [5], [6, 7], [8], [1], [3]]


def test_no_event_is_lost_or_doubled_when_the_server_dies_in_mid_run(
    running: Any, tmp_path: Path, client: Any, png: bytes, patient: None, caplog: pytest.LogCaptureFixture
) -> None:
    check_reachable(running.uri)
    tracking = MlflowTracking(running.uri, tmp_path, "outage")
    parent = tracking.open_parent("outage", "parent", {})
    first = tracking.open_child("0", "first", {})
    for step in range(5):
        first.log_metrics({"loss": 0.5, "other": float(step)}, step=step)
    running.kill()

    slowest = 0.0
    for step in range(5, 25):
        start = time.monotonic()
        first.log_metrics({"loss": 0.5, "other": float(step)}, step=step)
        first.log_image("grid", png, step=step)
        slowest = max(slowest, time.monotonic() - start)
    assert slowest < 0.5  # nobody waits for a server that is away
    first.close("FINISHED")
    second = tracking.open_child("1", "second", {})  # a trial that begins while the server is away
    second.log_params({"seed": 1})
    assert not tracking.flush(timeout_seconds=1)

    running.start()
    second.log_artifact("plots/history.html", b"<html>")
    second.close("FAILED")
    parent.close("FINISHED")
    assert tracking.close(timeout_seconds=60) is None

    run = _run_of(client, running, "outage", "first")
    for key in ("loss", "other"):
        steps_there = [point.step for point in client(running.uri).get_metric_history(run.info.run_id, key)]
        assert steps_there == list(range(25))
    assert len(client(running.uri).list_artifacts(run.info.run_id, "images")) == 2 * 20
    other = _run_of(client, running, "outage", "second")
    assert (run.info.status, other.info.status) == ("FINISHED", "FAILED")
    assert other.data.params == {"seed": "1"}
    assert other.data.tags["mlflow.parentRunId"] == _run_of(client, running, "outage", "parent").info.run_id
    warnings = [record.getMessage() for record in caplog.records if "does not take events" in record.message]
    assert len(warnings) == 1 and running.uri in warnings[0]


def test_a_search_that_ends_without_the_server_says_where_its_events_lie_and_they_can_be_delivered(
    running: Any, tmp_path: Path, client: Any, png: bytes, patient: None
) -> None:
    tracking = MlflowTracking(running.uri, tmp_path, "undelivered")
    tracking.open_parent("undelivered", "parent", {})
    child = tracking.open_child("0", "child", {})
    child.log_metrics({"loss": 1.0}, step=0)
    assert tracking.flush()
    running.kill()
    child.log_metrics({"loss": 0.5}, step=1)
    child.log_image("grid", png, step=1)
    child.close("FINISHED")
    start = time.monotonic()
    message = tracking.close(unfinished="FAILED", timeout_seconds=2)
    assert time.monotonic() - start < 8
    assert message is not None
    assert str(tmp_path / "tracking" / "undelivered") in message and "experiments/deliver.py" in message
    assert "4 events" in message  # a point, an image and the ends of two runs

    command = [sys.executable, str(DELIVER), str(tracking.journal_folder)]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 1 and "does not answer" in refused.stderr and "Traceback" not in refused.stderr
    running.start()
    subprocess.run(command, check=True)
    assert delivery.deliver_journal(tracking.journal_folder) is None  # a second delivery changes nothing
    run = _run_of(client, running, "undelivered", "child")
    points = client(running.uri).get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in points] == [(0, 1.0), (1, 0.5)]
    assert len(client(running.uri).list_artifacts(run.info.run_id, "images")) == 2
    assert run.info.status == "FINISHED"
    assert _run_of(client, running, "undelivered", "parent").info.status == "FAILED"

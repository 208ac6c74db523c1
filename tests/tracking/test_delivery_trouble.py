"""What MLflow or its store of files does not take, for a while or at all, and what a delivery looks for too early."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfkd.tracking import delivery
from dfkd.tracking.delivery import deliver_journal
from dfkd.tracking.journal import Event, Journal
from dfkd.tracking.mlflow_tracker import MlflowTracking

Runs = Callable[[str, str], dict[str, Any]]


def _take_files_away(home: Path) -> Path:
    """Put the store of artifacts out of reach, as a bucket that is away; return where it belongs."""
    files = home / "artifacts"
    files.mkdir(exist_ok=True)
    files.rename(home / "away")
    files.write_text("no folder")
    return files


def _bring_files_back(files: Path) -> None:
    files.unlink()
    files.with_name("away").rename(files)


def test_what_mlflow_refuses_is_kept_and_named_and_blocks_nothing(
    home: Path, uri: str, runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    tracking = MlflowTracking(uri, home, "refused")
    tracker = tracking.open_parent("digits", "refused", {})
    tracker.log_params({"a": 1})
    tracker.log_metrics({"bad * name": 1.0}, step=0)
    tracker.log_metrics({"good": 1.0}, step=0)
    message = tracking.close()
    assert message is not None and "refused.jsonl" in message and "experiments/deliver.py" in message
    refused = (tracking.journal_folder / "refused.jsonl").read_text()
    assert refused.count("\n") == 1 and "bad * name" in refused
    assert len([record for record in caplog.records if "refuses" in record.message]) == 1
    run = runs(uri, "refused")["refused"]
    assert (run.data.params, run.data.metrics, run.info.status) == ({"a": "1"}, {"good": 1.0}, "KILLED")


def test_an_event_that_fails_for_reasons_of_its_own_does_not_block_the_others(
    home: Path, uri: str, runs: Runs, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "RETRY_SECONDS", (0.01, 0.01))
    tracking = MlflowTracking(uri, home, "broken-image")
    tracker = tracking.open_parent("digits", "broken image", {})
    tracker.log_image("grid", png[: len(png) // 2], step=0)  # no thumbnail can be made of it
    tracker.log_metrics({"loss": 1.0}, step=0)
    message = tracking.close()
    assert message is not None and "refused.jsonl" in message
    assert runs(uri, "broken-image")["broken image"].data.metrics == {"loss": 1.0}
    assert len(list((tracking.journal_folder / "payloads").iterdir())) == 1  # the picture is kept


def test_a_file_waits_for_the_store_of_artifacts_and_nothing_waits_for_the_file(
    home: Path,
    uri: str,
    runs: Runs,
    client: Any,
    png: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As when a bucket is away for a while, and MLflow is not."""
    monkeypatch.setattr(delivery, "RETRY_SECONDS", (0.05, 0.05))
    tracking = MlflowTracking(uri, home, "bucket-away")
    tracker = tracking.open_parent("digits", "bucket away", {})
    assert tracking.flush()
    run_id, files = runs(uri, "bucket-away")["bucket away"].info.run_id, _take_files_away(home)
    tracker.log_artifact("plots/history.html", b"<html>")
    tracker.log_image("grid", png, step=0)
    tracker.log_metrics({"loss": 1.0}, step=0)
    deadline = time.monotonic() + 20
    while not client(uri).get_metric_history(run_id, "loss") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert client(uri).get_run(run_id).data.metrics == {"loss": 1.0}
    assert not tracking.flush(timeout_seconds=0.5)

    _bring_files_back(files)
    tracker.close("FINISHED")
    assert tracking.close() is None  # delivered, and nothing refused
    assert [file.path for file in client(uri).list_artifacts(run_id, "plots")] == ["plots/history.html"]
    assert len(client(uri).list_artifacts(run_id, "images")) == 2
    assert caplog.text.count("does not take events now") == caplog.text.count("takes events again") == 1
    assert not list((tracking.journal_folder / "payloads").iterdir())


def test_a_file_that_cannot_be_sent_in_time_is_left_to_the_command_that_delivers_it(
    home: Path, uri: str, runs: Runs, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "RETRY_SECONDS", (0.05, 0.05))
    tracking = MlflowTracking(uri, home, "bucket-gone")
    tracker = tracking.open_parent("digits", "bucket gone", {})
    assert tracking.flush()
    files = _take_files_away(home)
    tracker.log_artifact("a.txt", b"a")
    tracker.close("FINISHED")
    left = tracking.close(timeout_seconds=3)
    _bring_files_back(files)
    assert left is not None and "experiments/deliver.py" in left and "refused" not in left
    run = runs(uri, "bucket-gone")["bucket gone"]
    assert run.info.status == "FINISHED"
    assert deliver_journal(tracking.journal_folder) is None
    assert [file.path for file in client(uri).list_artifacts(run.info.run_id)] == ["a.txt"]


def test_what_is_refused_is_set_aside_once_however_often_others_are_tried(
    home: Path, uri: str, runs: Runs, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "RETRY_SECONDS", (0.05, 0.05))
    tracking = MlflowTracking(uri, home, "refused-once")
    tracker = tracking.open_parent("digits", "refused once", {})
    assert tracking.flush()
    files = _take_files_away(home)
    look, together = Journal.pending, threading.Event()
    monkeypatch.setattr(Journal, "pending", lambda *given: look(*given) if together.is_set() else ([], 0))
    tracker.log_metrics({"bad * name": 1.0}, step=0)
    tracker.log_artifact("a.txt", b"a")
    together.set()
    assert not tracking.flush(timeout_seconds=1)
    _bring_files_back(files)
    assert "refused.jsonl" in (tracking.close() or "")
    assert (tracking.journal_folder / "refused.jsonl").read_text().count("\n") == 1
    run = runs(uri, "refused-once")["refused once"]
    assert [file.path for file in client(uri).list_artifacts(run.info.run_id)] == ["a.txt"]


def test_a_file_that_was_put_off_does_not_overwrite_a_newer_one(
    home: Path, uri: str, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store of files is back between the two: the newer one goes first, since the older one was put off."""
    monkeypatch.setattr(delivery, "RETRY_SECONDS", (0.01, 0.01))
    monkeypatch.setattr(delivery, "EVENTS_AT_ONCE", 1)
    tracking = MlflowTracking(uri, home, "newest")
    tracker = tracking.open_parent("digits", "newest", {})
    assert tracking.flush()
    files, repeat, order = _take_files_away(home), Journal.repeat, []

    def repeat_and_mend(journal: Journal, event: Event) -> None:
        if not order:
            _bring_files_back(files)
        order.append(event.content["name"])
        repeat(journal, event)

    monkeypatch.setattr(Journal, "repeat", repeat_and_mend)
    for content in (b"old", b"new"):
        tracker.log_artifact("a.txt", content)
    assert tracking.close() is None
    assert order == ["a.txt"]
    run = runs(uri, "newest")["newest"]
    assert (files / run.info.run_id / "artifacts" / "a.txt").read_bytes() == b"new"


def test_a_journal_that_cannot_be_read_for_a_moment_ends_no_delivery(
    home: Path, uri: str, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "RETRY_SECONDS", (0.01, 0.01))
    tracking = MlflowTracking(uri, home, "moment")
    tracker = tracking.open_parent("digits", "moment", {})
    look, failed = Journal.pending, []

    def look_later(journal: Journal, limit: int) -> tuple[list[Event], int]:
        if not failed:
            failed.append(limit)
            raise OSError(24, "Too many open files")
        return look(journal, limit)

    monkeypatch.setattr(Journal, "pending", look_later)
    tracker.log_metrics({"loss": 1.0}, step=0)
    assert tracking.close() is None and failed
    assert runs(uri, "moment")["moment"].data.metrics == {"loss": 1.0}


def test_what_is_told_between_the_last_look_and_the_end_is_delivered(
    home: Path, uri: str, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delivery finds nothing new; before it goes on, the last events come and the search ends."""
    look, looks, has_looked, has_ended = Journal.pending, threading.Event(), threading.Event(), threading.Event()

    def slow_look(journal: Journal, limit: int) -> tuple[list[Event], int]:
        found = look(journal, limit)
        if looks.is_set() and not found[0] and not has_looked.is_set():
            has_looked.set()
            has_ended.wait(10)
        return found

    tracking = MlflowTracking(uri, home, "last-words")
    tracker = tracking.open_parent("digits", "last words", {})
    assert tracking.flush()
    monkeypatch.setattr(Journal, "pending", slow_look)
    looks.set()
    tracker.set_tags({"wakes": "the delivery"})
    assert has_looked.wait(10)
    tracker.log_metrics({"loss": 1.0}, step=0)
    threading.Timer(1.0, has_ended.set).start()
    assert tracking.close() is None
    assert runs(uri, "last-words")["last words"].data.metrics == {"loss": 1.0}

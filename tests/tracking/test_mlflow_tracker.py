"""Against the real SQLite store."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dfkd.tracking import delivery
from dfkd.tracking.connection import TRAINING_PAGES
from dfkd.tracking.delivery import deliver_journal
from dfkd.tracking.journal import Event, Journal
from dfkd.tracking.mlflow_tracker import MlflowTracking
from dfkd.tracking.protocol import DatasetInput


def _runs(client: Any, uri: str, search_id: str) -> dict[str, Any]:
    every = client(uri)
    ids = [experiment.experiment_id for experiment in every.search_experiments()]
    found = every.search_runs(ids, f"tags.\"dfkd.search_id\" = '{search_id}'")
    return {run.info.run_name: run for run in found}


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


def test_a_search_with_its_trials_arrives_complete(home: Path, uri: str, client: Any, png: bytes) -> None:
    tracking = MlflowTracking(uri, home, "complete")
    parent = tracking.open_parent("digits", "the search", {"dfkd.commit": "abc"})
    parent.set_description("# What this is")
    parent.log_artifact("tables/trials.parquet", b"PAR1")
    child = tracking.open_child("trial-0", "trial 0", {"dfkd.default": "true"})
    child.log_params({"learning_rate": 0.1, "name": "x" * 7000, "layers": (1, 2), **{f"p{i}": i for i in range(150)}})
    for step in range(3):
        child.log_metrics({"loss": 1.0 / (step + 1), "nan": math.nan}, step=step)
    child.log_image("synthetic/student", png, step=2)
    child.close("FINISHED")
    url = tracking.run_url("trial-0")
    parent.close("FINISHED")
    assert tracking.close() is None

    runs = _runs(client, uri, "complete")
    assert {name: run.info.status for name, run in runs.items()} == {"the search": "FINISHED", "trial 0": "FINISHED"}
    run = runs["trial 0"]
    assert run.data.tags["mlflow.parentRunId"] == runs["the search"].info.run_id
    assert runs["the search"].data.tags["mlflow.note.content"] == "# What this is"
    assert run.data.params["layers"] == "(1, 2)" and run.data.params["p149"] == "149"
    history = client(uri).get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert math.isnan(run.data.metrics["nan"])
    assert url == f"http://127.0.0.1:5000/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}{TRAINING_PAGES}"
    link = tracking.link_to("trial-0")
    assert link is not None and url.endswith(link) and tracking.link_to("trial-1") is None
    table = client(uri).list_artifacts(runs["the search"].info.run_id, "tables")
    assert [file.path for file in table] == ["tables/trials.parquet"]
    assert (home / "artifacts").is_dir()
    assert not list((tracking.journal_folder / "payloads").iterdir())


def test_a_data_set_is_an_input_of_its_run_once(home: Path, uri: str, client: Any) -> None:
    digits = DatasetInput("digits, test", "0123456789abcdef", "last score", "digits", 360, (1, 8, 8))
    for _ in range(2):  # a search that goes on tells it again
        tracking = MlflowTracking(uri, home, "inputs")
        tracking.open_parent("digits", "inputs", {}).log_dataset(digits)
        assert tracking.close() is None
    (given,) = _runs(client, uri, "inputs")["inputs"].inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == (digits.name, digits.digest)
    assert json.loads(given.dataset.profile) == {"num_images": 360, "image_shape": [1, 8, 8]}
    assert json.loads(given.dataset.source) == {"from": "digits"}
    assert [(tag.key, tag.value) for tag in given.tags] == [("mlflow.data.context", "last score")]


def test_images_have_the_names_that_mlflow_itself_gives(
    home: Path, uri: str, client: Any, png: bytes, tmp_path: Path
) -> None:
    from PIL import Image

    tracking = MlflowTracking(uri, home, "images")
    tracker = tracking.open_parent("digits", "images", {})
    tracker.log_image("grid/of", png, step=4)
    assert tracking.close() is None
    run = _runs(client, uri, "images")["images"]
    run_id = run.info.run_id
    ours = sorted(Path(file.path).name for file in client(uri).list_artifacts(run_id, "images"))
    other = client(uri).create_run(run.info.experiment_id).info.run_id
    client(uri).log_image(other, Image.new("L", (4, 4)), key="grid/of", step=4, timestamp=7, synchronous=True)
    theirs = sorted(Path(file.path).name for file in client(uri).list_artifacts(other, "images"))
    client(uri).set_terminated(other)

    def shape(name: str) -> list[str]:
        fields = name.split("+")
        return [*fields[:4], *fields[6:], Path(name).suffix]

    assert [shape(name) for name in ours] == [shape(name) for name in theirs]
    assert client(uri).get_run(run_id).data.tags["mlflow.loggedImages"] == "True"


def test_a_search_that_goes_on_finds_its_runs_and_doubles_nothing(
    home: Path, uri: str, client: Any, png: bytes
) -> None:
    for attempt in range(2):
        tracking = MlflowTracking(uri, home, "resumed")
        parent = tracking.open_parent("digits", "resumed search", {"attempt": str(attempt)})
        child = tracking.open_child("trial-0", "resumed trial", {})
        child.log_params({"seed": 3})
        for step in range(attempt + 2):  # the second attempt repeats both epochs of the first
            child.log_metrics({"loss": float(step), "nan": math.nan, "time/seconds": 10.0 * attempt + step}, step=step)
            child.log_image("grid", png, step=step)
        if attempt:
            child.close("FINISHED")
            parent.close("FINISHED")
        assert tracking.close(unfinished="FAILED") is None
    runs = _runs(client, uri, "resumed")
    assert len(runs) == 2
    run = runs["resumed trial"]
    assert run.info.status == "FINISHED" and runs["resumed search"].data.tags["attempt"] == "1"
    for key in ("loss", "nan", "time/seconds"):
        assert [point.step for point in client(uri).get_metric_history(run.info.run_id, key)] == [0, 1, 2]
    seconds = [point.value for point in client(uri).get_metric_history(run.info.run_id, "time/seconds")]
    assert seconds == [0.0, 1.0, 12.0]  # those of the first attempt stay
    assert len(client(uri).list_artifacts(run.info.run_id, "images")) == 2 * 3


def test_close_ends_every_run_that_is_open_with_the_status_it_is_told(home: Path, uri: str, client: Any) -> None:
    tracking = MlflowTracking(uri, home, "left-open")
    tracking.open_parent("digits", "left", {})
    tracking.open_child("a", "left a", {})
    tracking.open_child("b", "left b", {}).close("FINISHED")
    assert tracking.close(unfinished="FAILED") is None
    statuses = {name: run.info.status for name, run in _runs(client, uri, "left-open").items()}
    assert statuses == {"left": "FAILED", "left a": "FAILED", "left b": "FINISHED"}


@pytest.mark.parametrize(("error", "status"), [(RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_leaving_by_an_error_fails_the_runs_and_by_an_interrupt_kills_them(
    error: type[BaseException], status: str, home: Path, uri: str, client: Any
) -> None:
    search_id = f"left-by-{error.__name__}"
    with pytest.raises(error), MlflowTracking(uri, home, search_id) as tracking:
        tracking.open_parent("digits", "left", {})
        raise error
    assert _runs(client, uri, search_id)["left"].info.status == status


def test_a_run_left_running_by_a_process_that_died_is_ended_by_the_next(home: Path, uri: str, client: Any) -> None:
    code = f"""
import os
from pathlib import Path
from dfkd.tracking import delivery
from dfkd.tracking.delivery import deliver_journal
from dfkd.tracking.journal import Event, Journal
from dfkd.tracking.mlflow_tracker import MlflowTracking
tracking = MlflowTracking({uri!r}, Path({str(home)!r}), "died")
tracking.open_parent("digits", "parent", {{}})
child = tracking.open_child("a", "child", {{}})
tracking.flush()
child.log_metrics({{"loss": 1.0}}, step=0)
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert {run.info.status for run in _runs(client, uri, "died").values()} == {"RUNNING"}
    tracking = MlflowTracking(uri, home, "died")
    tracking.open_parent("digits", "parent", {}).close("FINISHED")
    assert tracking.close() is None
    runs = _runs(client, uri, "died")
    assert {name: run.info.status for name, run in runs.items()} == {"parent": "FINISHED", "child": "KILLED"}
    assert runs["child"].data.metrics == {"loss": 1.0}


def test_what_mlflow_refuses_is_kept_and_named_and_blocks_nothing(
    home: Path, uri: str, client: Any, caplog: pytest.LogCaptureFixture
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
    run = _runs(client, uri, "refused")["refused"]
    assert (run.data.params, run.data.metrics, run.info.status) == ({"a": "1"}, {"good": 1.0}, "KILLED")


def test_the_first_value_of_a_parameter_stays(home: Path, uri: str, client: Any) -> None:
    """As MLflow has it: a search that goes on under another commit would be refused."""
    for commit in ("a1b2", "c3d4"):
        tracking = MlflowTracking(uri, home, "commits")
        tracking.open_parent("digits", "commits", {}).log_params({"commit": commit, f"new at {commit}": 1})
        assert tracking.close() is None
    params = _runs(client, uri, "commits")["commits"].data.params
    assert params == {"commit": "a1b2", "new at a1b2": "1", "new at c3d4": "1"}


def test_an_event_that_fails_for_reasons_of_its_own_does_not_block_the_others(
    home: Path, uri: str, client: Any, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "RETRY_SECONDS", (0.01, 0.01))
    tracking = MlflowTracking(uri, home, "broken-image")
    tracker = tracking.open_parent("digits", "broken image", {})
    tracker.log_image("grid", png[: len(png) // 2], step=0)  # no thumbnail can be made of it
    tracker.log_metrics({"loss": 1.0}, step=0)
    message = tracking.close()
    assert message is not None and "refused.jsonl" in message
    assert _runs(client, uri, "broken-image")["broken image"].data.metrics == {"loss": 1.0}
    assert len(list((tracking.journal_folder / "payloads").iterdir())) == 1  # the picture is kept


def test_a_file_waits_for_the_store_of_artifacts_and_nothing_waits_for_the_file(
    home: Path, uri: str, client: Any, png: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As when a bucket is away for a while, and MLflow is not."""
    monkeypatch.setattr(delivery, "RETRY_SECONDS", (0.05, 0.05))
    tracking = MlflowTracking(uri, home, "bucket-away")
    tracker = tracking.open_parent("digits", "bucket away", {})
    assert tracking.flush()
    run_id, files = _runs(client, uri, "bucket-away")["bucket away"].info.run_id, _take_files_away(home)
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
    home: Path, uri: str, client: Any, monkeypatch: pytest.MonkeyPatch
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
    run = _runs(client, uri, "bucket-gone")["bucket gone"]
    assert run.info.status == "FINISHED"
    assert deliver_journal(tracking.journal_folder) is None
    assert [file.path for file in client(uri).list_artifacts(run.info.run_id)] == ["a.txt"]


def test_what_is_refused_is_set_aside_once_however_often_others_are_tried(
    home: Path, uri: str, client: Any, monkeypatch: pytest.MonkeyPatch
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
    run = _runs(client, uri, "refused-once")["refused once"]
    assert [file.path for file in client(uri).list_artifacts(run.info.run_id)] == ["a.txt"]


def test_a_file_that_was_put_off_does_not_overwrite_a_newer_one(
    home: Path, uri: str, client: Any, monkeypatch: pytest.MonkeyPatch
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
    run = _runs(client, uri, "newest")["newest"]
    assert (files / run.info.run_id / "artifacts" / "a.txt").read_bytes() == b"new"


def test_a_journal_that_cannot_be_read_for_a_moment_ends_no_delivery(
    home: Path, uri: str, client: Any, monkeypatch: pytest.MonkeyPatch
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
    assert _runs(client, uri, "moment")["moment"].data.metrics == {"loss": 1.0}


def test_an_experiment_that_another_command_makes_at_this_moment_is_taken(
    home: Path, uri: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client(uri).create_experiment("just made")
    look, looks = client.get_experiment_by_name, []

    def too_early(self: Any, name: str) -> Any:
        looks.append(name)
        return None if len(looks) == 1 else look(self, name)

    monkeypatch.setattr(client, "get_experiment_by_name", too_early)
    with MlflowTracking(uri, home, "raced") as tracking:
        tracking.open_parent("just made", "raced", {})
    assert looks == ["just made", "just made"]
    assert list(_runs(client, uri, "raced")) == ["raced"]


@pytest.mark.parametrize("copied", ["before", "after"])
def test_a_search_that_goes_on_at_another_address_has_all_of_its_runs_there(
    home: Path, uri: str, client: Any, tmp_path: Path, png: bytes, caplog: pytest.LogCaptureFixture, copied: str
) -> None:
    """Whether another server holds nothing of it, or the same one has moved with its database."""
    search_id, other = f"moved-{copied}", f"sqlite:///{tmp_path}/other.db"
    if copied == "before":
        shutil.copy(home / "mlflow.db", tmp_path / "other.db")
    for step, address in enumerate((uri, other)):
        tracking = MlflowTracking(address, home, search_id)
        tracker = tracking.open_parent("digits", "moved", {})
        tracker.log_params({"seed": 3})
        for repeated in range(step + 1):
            tracker.log_metrics({"loss": 1.0}, step=repeated)
        tracker.log_image("grid", png, step=step)
        assert tracking.close() is None
        assert (f"its runs are sent to {other} from their beginning" in caplog.text) == (step == 1)
        if copied == "after" and step == 0:
            shutil.copy(home / "mlflow.db", tmp_path / "other.db")
    for address, steps in ((uri, [0]), (other, [0, 1])):
        run = _runs(client, address, search_id)["moved"]
        assert [point.step for point in client(address).get_metric_history(run.info.run_id, "loss")] == steps
        assert run.data.params == {"seed": "3"}


def test_what_is_told_between_the_last_look_and_the_end_is_delivered(
    home: Path, uri: str, client: Any, monkeypatch: pytest.MonkeyPatch
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
    assert _runs(client, uri, "last-words")["last words"].data.metrics == {"loss": 1.0}


def test_runs_of_one_name_in_two_homes_are_two_runs(home: Path, uri: str, client: Any, tmp_path: Path) -> None:
    """As of two people who name a run alike, with one MLflow between them."""
    for each in (home, tmp_path):
        tracking = MlflowTracking(uri, each, "namesake")
        tracking.open_parent("digits", f"in {each.name}", {}).log_params({"home": each.name})
        assert tracking.close() is None
    runs = _runs(client, uri, "namesake")
    assert {run.data.params["home"] for run in runs.values()} == {home.name, tmp_path.name}
    assert len(runs) == 2


def test_a_picture_that_is_no_png_is_an_error_at_once(home: Path, uri: str) -> None:
    with MlflowTracking(uri, home, "no-png") as tracking:
        tracker = tracking.open_parent("digits", "no png", {})
        with pytest.raises(ValueError, match="expected the bytes of a PNG file"):
            tracker.log_image("grid", b"GIF89a", step=0)


def test_an_experiment_that_was_deleted_stops_the_start_with_the_command_that_restores_it(
    home: Path, uri: str, client: Any
) -> None:
    client(uri).delete_experiment(client(uri).create_experiment("gone"))
    tracking = MlflowTracking(uri, home, "deleted-experiment")
    with pytest.raises(ValueError, match="mlflow experiments restore"):
        tracking.open_parent("gone", "parent", {})
    tracking.close()


@pytest.mark.parametrize("search_id", ["", "a/b", "a'b"])
def test_a_search_id_that_is_no_folder_name_is_refused(search_id: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="search_id: expected"):
        MlflowTracking("sqlite:////x.db", tmp_path, search_id)


def test_an_artifact_must_stay_within_its_run(home: Path, uri: str) -> None:
    tracking = MlflowTracking(uri, home, "artifact-names")
    tracker = tracking.open_parent("digits", "names", {})
    for name in ("/etc/passwd", "../x", ""):
        with pytest.raises(ValueError, match="log_artifact: expected"):
            tracker.log_artifact(name, b"")
    tracking.close()

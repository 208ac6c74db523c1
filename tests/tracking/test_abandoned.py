"""What commands leave behind that were really killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfkd.tracking.abandoned import end_abandoned_runs
from dfkd.tracking.journal import Journal
from dfkd.tracking.mlflow_tracker import MlflowTracking

SEARCH = """
import sys, time
from pathlib import Path
from dfkd.tracking.mlflow_tracker import MlflowTracking
uri, home, search_id = sys.argv[1:]
tracking = MlflowTracking(uri, Path(home), search_id)
tracking.open_parent("abandoned", "parent", {})
child = tracking.open_child("a", "child", {})
child.log_metrics({"loss": 1.0}, step=0)
tracking.flush()
print("ready", flush=True)
time.sleep(300)
"""


AT = {"artifact_location": None}


@pytest.fixture
def search(uri: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A search in a process of its own, with two open runs and a journal in ``tmp_path``."""
    arguments = [sys.executable, "-c", SEARCH, uri, str(tmp_path), f"killed-{tmp_path.name}"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def statuses(client: Any, uri: str, tmp_path: Path) -> dict[str, str]:
    ids = [experiment.experiment_id for experiment in client(uri).search_experiments()]
    runs = client(uri).search_runs(ids, f"tags.\"dfkd.search_id\" = 'killed-{tmp_path.name}'")
    return {run.info.run_name: run.info.status for run in runs}


def test_runs_of_a_killed_search_are_ended_those_of_a_live_one_are_not(
    search: subprocess.Popen[str], uri: str, client: Any, tmp_path: Path
) -> None:
    journal = tmp_path / "tracking" / f"killed-{tmp_path.name}" / "journal.jsonl"
    before = journal.read_bytes()
    assert end_abandoned_runs(tmp_path, uri) == []
    assert journal.read_bytes() == before
    assert statuses(client, uri, tmp_path) == {"parent": "RUNNING", "child": "RUNNING"}

    search.kill()
    search.wait()
    with MlflowTracking(uri, tmp_path, "another-search"):
        pass
    assert statuses(client, uri, tmp_path) == {"parent": "KILLED", "child": "KILLED"}

    with MlflowTracking(uri, tmp_path, f"killed-{tmp_path.name}") as resumed:
        parent, child = resumed.open_parent("abandoned", "parent", {}), resumed.open_child("a", "child", {})
        resumed.flush()
        assert statuses(client, uri, tmp_path) == {"parent": "RUNNING", "child": "RUNNING"}
        child.close("FINISHED")
        parent.close("FINISHED")
    assert statuses(client, uri, tmp_path) == {"parent": "FINISHED", "child": "FINISHED"}
    assert end_abandoned_runs(tmp_path, uri) == []


def test_a_search_that_ended_unheard_is_delivered(uri: str, client: Any, tmp_path: Path) -> None:
    """It was killed while it waited for MLflow: its runs are closed in the journal, and running in MLflow."""
    name = f"killed-{tmp_path.name}"
    journal = Journal(tmp_path / "tracking" / name)
    journal.bind(uri)
    tags = {"dfkd.search_id": name}
    journal.append(
        "p", "open", {"experiment": "abandoned", "run_name": "parent", "tags": tags, "parent_key": None} | AT
    )
    journal.append("p", "close", {"status": "FINISHED"})
    journal.close()
    assert end_abandoned_runs(tmp_path, uri) == []
    assert statuses(client, uri, tmp_path) == {"parent": "FINISHED"}


def test_an_address_that_is_away_is_told_in_one_line_and_its_runs_wait(uri: str, tmp_path: Path) -> None:
    for name in ("first", "second"):
        journal = Journal(tmp_path / "tracking" / name)
        journal.bind("http://127.0.0.1:1")
        journal.append("p", "open", {})
        journal.close()
    (line,) = end_abandoned_runs(tmp_path, uri)
    assert "http://127.0.0.1:1" in line and "\n" not in line
    for name in ("first", "second"):
        again = Journal(tmp_path / "tracking" / name)
        assert again.open_runs() == ["p"]
        again.close()


def test_a_journal_that_cannot_be_read_is_told_in_one_line_and_stops_nobody(
    uri: str, client: Any, tmp_path: Path
) -> None:
    damages = {
        "a-state": ("delivered.json", ""),
        "b-event": ("journal.jsonl", '{"kind": "open"}\n'),
        "c-text": ("journal.jsonl", '"kind": "open"\n'),
        "d-payload": ("payloads/readme", ""),
    }
    for name in (*damages, f"killed-{tmp_path.name}"):
        journal = Journal(tmp_path / "tracking" / name)
        content = {"experiment": "abandoned", "artifact_location": None, "run_name": name, "parent_key": None}
        journal.append("p", "open", content | {"tags": {"dfkd.search_id": name}})
        journal.close()
    for name, (file, text) in damages.items():
        (tmp_path / "tracking" / name / file).write_text(text)
    lines = end_abandoned_runs(tmp_path, uri)
    assert [Path(line.split(":")[0]).name for line in lines] == list(damages)
    assert all("cannot be read" in line and "\n" not in line for line in lines)
    assert statuses(client, uri, tmp_path) == {f"killed-{tmp_path.name}": "KILLED"}  # the sound one comes last


def test_a_store_that_is_gone_is_not_made_anew(uri: str, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "tracking" / "moved")
    journal.bind(f"sqlite:///{tmp_path}/gone.db")
    journal.append("p", "open", {})
    journal.close()
    (line,) = end_abandoned_runs(tmp_path, uri)
    assert "gone.db cannot be had" in line
    assert not (tmp_path / "gone.db").exists()


def test_a_line_that_is_being_written_is_left_alone(uri: str, tmp_path: Path) -> None:
    folder = tmp_path / "tracking" / "live"
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_text('{"run_key": "p", "kind": "open", "cont')
    assert end_abandoned_runs(tmp_path, uri) == []
    assert (folder / "journal.jsonl").read_text() == '{"run_key": "p", "kind": "open", "cont'

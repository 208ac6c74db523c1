"""What arrives in MLflow, against the real SQLite store."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfkd.tracking.connection import TRAINING_PAGES
from dfkd.tracking.mlflow_tracker import MlflowTracking
from dfkd.tracking.protocol import DatasetInput

Runs = Callable[[str, str], dict[str, Any]]


def test_a_search_with_its_trials_arrives_complete(home: Path, uri: str, runs: Runs, client: Any, png: bytes) -> None:
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

    found = runs(uri, "complete")
    assert {name: run.info.status for name, run in found.items()} == {"the search": "FINISHED", "trial 0": "FINISHED"}
    run = found["trial 0"]
    assert run.data.tags["mlflow.parentRunId"] == found["the search"].info.run_id
    assert found["the search"].data.tags["mlflow.note.content"] == "# What this is"
    assert run.data.params["layers"] == "(1, 2)" and run.data.params["p149"] == "149"
    history = client(uri).get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert math.isnan(run.data.metrics["nan"])
    assert url == f"http://127.0.0.1:5000/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}{TRAINING_PAGES}"
    link = tracking.link_to("trial-0")
    assert link is not None and url.endswith(link) and tracking.link_to("trial-1") is None
    table = client(uri).list_artifacts(found["the search"].info.run_id, "tables")
    assert [file.path for file in table] == ["tables/trials.parquet"]
    assert (home / "artifacts").is_dir()
    assert not list((tracking.journal_folder / "payloads").iterdir())


def test_a_data_set_is_an_input_of_its_run_once(home: Path, uri: str, runs: Runs) -> None:
    digits = DatasetInput("digits, test", "0123456789abcdef", "last score", "digits", 360, (1, 8, 8))
    for _ in range(2):  # a search that goes on tells it again
        tracking = MlflowTracking(uri, home, "inputs")
        tracking.open_parent("digits", "inputs", {}).log_dataset(digits)
        assert tracking.close() is None
    (given,) = runs(uri, "inputs")["inputs"].inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == (digits.name, digits.digest)
    assert json.loads(given.dataset.profile) == {"num_images": 360, "image_shape": [1, 8, 8]}
    assert json.loads(given.dataset.source) == {"from": "digits"}
    assert [(tag.key, tag.value) for tag in given.tags] == [("mlflow.data.context", "last score")]


def test_images_have_the_names_that_mlflow_itself_gives(
    home: Path, uri: str, runs: Runs, client: Any, png: bytes, tmp_path: Path
) -> None:
    from PIL import Image

    tracking = MlflowTracking(uri, home, "images")
    tracker = tracking.open_parent("digits", "images", {})
    tracker.log_image("grid/of", png, step=4)
    assert tracking.close() is None
    run = runs(uri, "images")["images"]
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
    home: Path, uri: str, runs: Runs, client: Any, png: bytes
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
    found = runs(uri, "resumed")
    assert len(found) == 2
    run = found["resumed trial"]
    assert run.info.status == "FINISHED" and found["resumed search"].data.tags["attempt"] == "1"
    for key in ("loss", "nan", "time/seconds"):
        assert [point.step for point in client(uri).get_metric_history(run.info.run_id, key)] == [0, 1, 2]
    seconds = [point.value for point in client(uri).get_metric_history(run.info.run_id, "time/seconds")]
    assert seconds == [0.0, 1.0, 12.0]  # those of the first attempt stay
    assert len(client(uri).list_artifacts(run.info.run_id, "images")) == 2 * 3


def test_close_ends_every_run_that_is_open_with_the_status_it_is_told(home: Path, uri: str, runs: Runs) -> None:
    tracking = MlflowTracking(uri, home, "left-open")
    tracking.open_parent("digits", "left", {})
    tracking.open_child("a", "left a", {})
    tracking.open_child("b", "left b", {}).close("FINISHED")
    assert tracking.close(unfinished="FAILED") is None
    statuses = {name: run.info.status for name, run in runs(uri, "left-open").items()}
    assert statuses == {"left": "FAILED", "left a": "FAILED", "left b": "FINISHED"}


@pytest.mark.parametrize(("error", "status"), [(RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_leaving_by_an_error_fails_the_runs_and_by_an_interrupt_kills_them(
    error: type[BaseException], status: str, home: Path, uri: str, runs: Runs
) -> None:
    search_id = f"left-by-{error.__name__}"
    with pytest.raises(error), MlflowTracking(uri, home, search_id) as tracking:
        tracking.open_parent("digits", "left", {})
        raise error
    assert runs(uri, search_id)["left"].info.status == status


def test_a_run_left_running_by_a_process_that_died_is_ended_by_the_next(home: Path, uri: str, runs: Runs) -> None:
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
    assert {run.info.status for run in runs(uri, "died").values()} == {"RUNNING"}
    tracking = MlflowTracking(uri, home, "died")
    tracking.open_parent("digits", "parent", {}).close("FINISHED")
    assert tracking.close() is None
    found = runs(uri, "died")
    assert {name: run.info.status for name, run in found.items()} == {"parent": "FINISHED", "child": "KILLED"}
    assert found["child"].data.metrics == {"loss": 1.0}


def test_the_first_value_of_a_parameter_stays(home: Path, uri: str, runs: Runs) -> None:
    """As MLflow has it: a search that goes on under another commit would be refused."""
    for commit in ("a1b2", "c3d4"):
        tracking = MlflowTracking(uri, home, "commits")
        tracking.open_parent("digits", "commits", {}).log_params({"commit": commit, f"new at {commit}": 1})
        assert tracking.close() is None
    params = runs(uri, "commits")["commits"].data.params
    assert params == {"commit": "a1b2", "new at a1b2": "1", "new at c3d4": "1"}


def test_an_experiment_that_another_command_makes_at_this_moment_is_taken(
    home: Path, uri: str, runs: Runs, client: Any, monkeypatch: pytest.MonkeyPatch
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
    assert list(runs(uri, "raced")) == ["raced"]


@pytest.mark.parametrize("copied", ["before", "after"])
def test_a_search_that_goes_on_at_another_address_has_all_of_its_runs_there(
    home: Path,
    uri: str,
    runs: Runs,
    client: Any,
    tmp_path: Path,
    png: bytes,
    caplog: pytest.LogCaptureFixture,
    copied: str,
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
        run = runs(address, search_id)["moved"]
        assert [point.step for point in client(address).get_metric_history(run.info.run_id, "loss")] == steps
        assert run.data.params == {"seed": "3"}


def test_runs_of_one_name_in_two_homes_are_two_runs(home: Path, uri: str, runs: Runs, tmp_path: Path) -> None:
    """As of two people who name a run alike, with one MLflow between them."""
    for each in (home, tmp_path):
        tracking = MlflowTracking(uri, each, "namesake")
        tracking.open_parent("digits", f"in {each.name}", {}).log_params({"home": each.name})
        assert tracking.close() is None
    found = runs(uri, "namesake")
    assert {run.data.params["home"] for run in found.values()} == {home.name, tmp_path.name}
    assert len(found) == 2


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

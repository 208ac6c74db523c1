"""What a search keeps out of MLflow and its home: pictures, places on this machine, a sensitive teacher's images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dfkd.cluster.local_session import LocalSession
from dfkd.cluster.worker import run_worker
from dfkd.jobs.leftovers import remove_leftovers
from dfkd.jobs.phases import find_floor, listener_of
from dfkd.jobs.probe_cache import obtain_probe_set
from dfkd.jobs.search import open_parent
from dfkd.tracking.connection import import_mlflow


def test_trials_leave_no_picture_and_have_no_floor_where_these_are_off(ended: Callable[..., Any]) -> None:
    """That they have both otherwise is shown in ``tests/experiments/test_search.py``."""
    search = ended(extra="noise_floor: off\ntracking: {images: off, image_every: 1}\n")
    running = search.running
    assert find_floor(running) is None
    open_parent(running)
    plan = running.plan(seed=5)
    listener = listener_of(running, plan)
    session = LocalSession(torch.device("cpu"), lambda report: listener.reported(search.default, report))
    listener.started(search.default)
    run_worker(plan.resolve(search.default), running.materials, session, image_every=plan.image_every)
    listener.ended(search.default, error=None)
    assert running.tracking.flush()
    client = import_mlflow().MlflowClient(running.tracking_uri)
    experiment = client.get_experiment_by_name("tiny")
    (run,) = client.search_runs([experiment.experiment_id], "tags.\"dfkd.kind\" = 'trial'")
    assert "probe/agreement" in run.data.metrics
    assert client.list_artifacts(run.info.run_id) == []


def test_a_searchs_run_names_no_place_on_this_machine(ended: Callable[..., Any]) -> None:
    running = ended().running
    running.space.base["dataset"]["path"] = "/home/jane/digits"
    open_parent(running)
    assert running.tracking.flush()
    files = [file.read_text() for file in (running.folder.path.parents[1] / "artifacts").rglob("*.json")]
    assert len(files) == 2 and all('"path": "digits"' in text and "jane" not in text for text in files)
    assert "jane" not in (running.tracking.journal_folder / "journal.jsonl").read_text()


def test_a_sensitive_search_ends_without_a_map_of_images_or_a_checkpoint(ended: Callable[..., Any]) -> None:
    search = ended(extra="tracking: {profile: sensitive}\n")
    search.record(search.default)
    outcome = search.conclude()
    running = search.running
    assert running.tracking.flush()
    client = import_mlflow().MlflowClient(running.tracking_uri)
    plots = {info.path for info in client.list_artifacts(running.tracking.parent_run_id, "plots")}
    assert "plots/confusion_matrix.html" in plots and "plots/embedding_map.html" not in plots
    obtain_probe_set(running.materials.teacher, running.folder.home)
    assert list(running.folder.path.glob("trials/*/*/*.pt"))
    remove_leftovers(running, outcome.choice)
    assert not list(running.folder.home.rglob("*.pt"))
    assert not list(running.folder.home.glob("probe_sets/*"))
    assert "cannot be removed" not in search.said.getvalue()

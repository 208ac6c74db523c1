from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch

from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData
from dfkd.jobs import preparation
from dfkd.jobs.console import Console
from dfkd.jobs.preparation import REPORT_KEYS, check_objective, check_places, resolve_storage, with_checks_that_fit
from dfkd.search.load import load_space
from dfkd.settings.search import OBJECTIVES, ObjectiveSettings

SMOKE = str(Path(__file__).parents[2] / "search_spaces" / "smoke.yaml")


def check(metric: str, data: RealData) -> None:
    objective = ObjectiveSettings(metric=metric)  # type: ignore[arg-type]
    check_objective(objective, load_space(SMOKE, []).resolve({}), data)


def data(*, validation: bool) -> RealData:
    images = ImageSet(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.arange(4))
    return RealData(
        title="four images",
        class_names=("a", "b", "c", "d"),
        train=images,
        validation=images if validation else None,
        test=None,
    )


def test_every_objective_is_a_key_of_the_reports() -> None:
    assert set(REPORT_KEYS) == set(OBJECTIVES)


@pytest.mark.parametrize("metric", ["agreement", "kl"])
def test_the_probe_needs_no_real_image(metric: str) -> None:
    check(metric, data(validation=False))


@pytest.mark.parametrize("metric", ["agreement_real", "val_accuracy"])
def test_an_objective_on_real_images_needs_a_validation_split(metric: str) -> None:
    check(metric, data(validation=True))
    with pytest.raises(ValueError, match=f"objective.metric: '{metric}' needs .*and the dataset has no validation"):
        check(metric, data(validation=False))


def test_an_objective_needs_its_task() -> None:
    with pytest.raises(ValueError, match="'val_balanced_accuracy' needs the task 'binary' in experiment.tasks"):
        check("val_balanced_accuracy", data(validation=True))


SQLITE, SERVER = "sqlite:////home/me/mlflow.db", "http://head:5000"


@pytest.mark.parametrize(
    ("nodes", "grows", "tracking_uri", "storage", "message"),
    [
        (1, False, SQLITE, None, None),
        (2, False, SERVER, "s3://bucket/dfkd", None),
        (1, True, SERVER, "s3://bucket/dfkd", None),
        (2, False, SQLITE, "s3://bucket/dfkd", "is a file of this machine, but the cluster has 2 nodes"),
        (1, True, SQLITE, "s3://bucket/dfkd", "is a file of this machine, but the cluster may get more nodes"),
        (2, False, SERVER, None, "--storage: the cluster has several nodes or may get them"),
        (1, True, SERVER, None, "--storage: the cluster has several nodes or may get them"),
    ],
)
def test_all_nodes_must_reach_mlflow_and_the_checkpoints(
    monkeypatch: pytest.MonkeyPatch,
    nodes: int,
    grows: bool,
    tracking_uri: str,
    storage: str | None,
    message: str | None,
) -> None:
    monkeypatch.setattr(preparation, "num_nodes", lambda: nodes)
    monkeypatch.setattr(preparation, "autoscales", lambda: grows)
    if message is None:
        check_places(tracking_uri=tracking_uri, storage=storage)
        return
    with pytest.raises(ValueError, match=message):
        check_places(tracking_uri=tracking_uri, storage=storage)


def test_storage_is_absolute_and_known_to_be_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_storage("shared/", name="smoke-1") == f"{tmp_path}/shared/smoke-1"
    assert resolve_storage(f"file://{tmp_path}/other", name="smoke-1") == f"file://{tmp_path}/other/smoke-1"
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="--storage: expected a folder or URI that can be written, got 'file'"):
        resolve_storage("file", name="smoke-1")


def test_the_run_of_two_workers_is_left_out_aloud_where_there_is_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.StringIO()
    space = load_space(SMOKE, [])
    monkeypatch.setattr(preparation, "check_fits", lambda settings, workers: None)
    assert with_checks_that_fit(space, Console(printed)) is space

    def one_gpu(settings: object, workers: int) -> None:
        raise ValueError("workers: 2 needed, each with a GPU; the cluster can give 1 at most.")

    monkeypatch.setattr(preparation, "check_fits", one_gpu)
    fitting = with_checks_that_fit(space, Console(printed))
    assert not fitting.checks_workers
    assert fitting.reserved_trials == space.reserved_trials - 1
    assert fitting.key == space.key  # it is still the same search
    assert "no run with 2 workers on Ray Train to compare one worker with: workers: 2 needed" in printed.getvalue()

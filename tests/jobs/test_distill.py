from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from dfkd.data import load_dataset
from dfkd.jobs.console import Console
from dfkd.jobs.distill import run_distillation
from dfkd.jobs.distill_options import DistillOptions
from dfkd.jobs.rehearsal import untrained_teacher
from dfkd.settings.experiment import ExperimentSettings, TeacherSettings, TeacherTrainingSettings
from dfkd.settings.search import TrackingSettings
from dfkd.teachers import save_teacher
from dfkd.tracking.connection import import_mlflow
from dfkd.tracking.home import default_tracking_uri


@pytest.mark.parametrize("name", ["", "a/b", "../x", "..", "-x", "a\n"])
def test_a_name_cannot_leave_its_folder(name: str) -> None:
    with pytest.raises(ValueError, match="--name: expected only letters"):
        DistillOptions(name=name)


def test_a_named_run_that_goes_on_keeps_its_curve(
    tiny_settings: Callable[..., ExperimentSettings],
    interrupts: Callable[[str], io.StringIO],
    home: Path,
    tmp_path: Path,
) -> None:
    settings = tiny_settings(distillation={"epochs": 3})  # and one of warm-up
    teacher = TeacherSettings(architecture="digits_student", training=TeacherTrainingSettings(epochs=1))
    settings = replace(settings, teacher=teacher)
    file, uri = tmp_path / "result.json", default_tracking_uri(home)
    options = DistillOptions(home=str(home), tracking_uri=uri, name="interrupted", json_file=str(file))
    with pytest.raises(KeyboardInterrupt):
        run_distillation(settings, options, Console(interrupts("] epoch 3/")))
    assert not file.exists()
    printed = io.StringIO()
    with_onnx = find_spec("onnxruntime") is not None
    scores = run_distillation(settings, replace(options, compress_teacher=with_onnx), Console(printed))
    assert "] epoch 2/" not in printed.getvalue()

    result: dict[str, Any] = json.loads(file.read_text())
    assert [point["epoch"] for point in result["curve"]] == [0, 1, 2, 3]
    assert all("probe/agreement" in point for point in result["curve"])
    seconds = [point["seconds"] for point in result["curve"]]
    assert seconds == sorted(seconds) and result["distillation_seconds"] == seconds[-1]
    if with_onnx:
        *_, rounded = result["compressed_teacher"]
        assert rounded["title"] == "teacher, int8" and rounded["scores"]["agreement/top1"] > 0.8
        assert "teacher, int8: accuracy" in printed.getvalue()
    client = import_mlflow().MlflowClient(uri)
    experiment = client.get_experiment_by_name("distillations")
    (run,) = client.search_runs([experiment.experiment_id], "attributes.run_name = 'interrupted'")
    (point,) = client.get_metric_history(run.info.run_id, "test/accuracy/top1")
    assert (point.step, point.value) == (4, scores["accuracy/top1"])
    history = client.get_metric_history(run.info.run_id, "probe/agreement")
    assert [point.step for point in history] == [0, 1, 2, 3]

    run_distillation(settings, options, Console(io.StringIO()))  # it is over already
    assert json.loads(file.read_text())["curve"] == result["curve"]
    assert json.loads(file.read_text())["distillation_seconds"] == result["distillation_seconds"]


@pytest.mark.parametrize("images", [True, False])
def test_pictures_are_tracked_unless_that_is_off(
    tiny_settings: Callable[..., ExperimentSettings], home: Path, images: bool
) -> None:
    teacher = TeacherSettings(architecture="digits_student", training=TeacherTrainingSettings(epochs=1))
    settings = replace(tiny_settings(), teacher=teacher)
    uri, name = default_tracking_uri(home), f"images-{images}"
    tracking = TrackingSettings(images=images, image_every=1)
    options = DistillOptions(home=str(home), tracking_uri=uri, name=name, tracking=tracking)
    run_distillation(settings, options, Console(io.StringIO()))
    client = import_mlflow().MlflowClient(uri)
    experiment = client.get_experiment_by_name("distillations")
    (run,) = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'")
    pictures = client.list_artifacts(run.info.run_id, "images")
    assert bool(pictures) == images
    assert run.data.tags["device"] == "cpu"
    assert bool(list((home / "tracking" / name).rglob("*.png"))) <= images


def test_a_sensitive_run_names_no_class_and_leaves_no_synthetic_image(
    tiny_settings: Callable[..., ExperimentSettings], empty_store: Path, tmp_path: Path
) -> None:
    """A teacher that is trained here, then one of a file that names its classes."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(empty_store, home)
    names = tuple(f"axolotl {number}" for number in range(10))
    settings = tiny_settings()
    training = TeacherSettings(architecture="digits_student", training=TeacherTrainingSettings(epochs=1))
    settings = replace(settings, teacher=training, dataset=replace(settings.dataset, class_names=names))
    file, printed = tmp_path / "result.json", io.StringIO()
    options = DistillOptions(
        home=str(home),
        tracking_uri=default_tracking_uri(home),
        json_file=str(file),
        tracking=TrackingSettings(profile="sensitive", image_every=1),
    )
    run_distillation(settings, options, Console(printed))
    data = load_dataset(settings.dataset)
    teacher = untrained_teacher("digits_student", data)
    save_teacher(tmp_path / "named.safetensors", teacher)
    given = replace(settings, teacher=TeacherSettings(weights=str(tmp_path / "named.safetensors"), class_names=names))
    run_distillation(given, options, Console(printed))
    left = [path for path in [file, *home.rglob("*")] if path.is_file()]
    assert [path for path in left if b"axolotl" in path.read_bytes()] == []
    assert "axolotl" not in printed.getvalue() and "class 9" in file.read_text()
    assert [path for path in left if path.suffix in (".pt", ".png") or "probe_sets" in path.parts] == []

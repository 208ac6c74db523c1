from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dfkd.jobs.command import open_output
from dfkd.jobs.surroundings import check_surroundings
from dfkd.settings.experiment import (
    DatasetSettings,
    ExperimentSettings,
    LabelEmbeddingSettings,
    StudentSettings,
    TeacherSettings,
)
from dfkd.settings.synthesis import PublicImagesSettings


def settings(weights: str | None = None) -> ExperimentSettings:
    return ExperimentSettings(
        dataset=DatasetSettings(),
        teacher=TeacherSettings(architecture="digits_teacher", weights=weights),
        student=StudentSettings(architecture="digits_student"),
    )


@pytest.fixture(autouse=True)
def no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def test_a_new_home_and_a_trained_teacher_need_nothing(tmp_path: Path) -> None:
    check_surroundings(settings(), home=str(tmp_path / "new"), tracking_uri=None, ray=True)
    check_surroundings(settings("models:/teacher@champion"), home=str(tmp_path / "new"), tracking_uri=None)
    assert (tmp_path / "new").is_dir()


def test_weights_that_are_not_there_are_missed_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"teacher.weights: .*no.safetensors does not exist \(looked from"):
        check_surroundings(settings(str(tmp_path / "no.safetensors")), home=str(tmp_path), tracking_uri=None)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"dataset": DatasetSettings(name="parquet", path="/nowhere/images")},
            "dataset.path: /nowhere/images does not",
        ),
        (
            {"dataset": DatasetSettings(name="torchvision", torchvision_name="MNIST", path="/nowhere")},
            "dataset.path: /nowhere does not exist",
        ),
        (
            {"label_embeddings": LabelEmbeddingSettings(name="file", path="/nowhere/vectors.safetensors")},
            "label_embeddings.path: /nowhere/vectors.safetensors does not",
        ),
        ({"synthesis": PublicImagesSettings(path="/nowhere/photos")}, "synthesis.path: /nowhere/photos does not exist"),
    ],
)
def test_images_and_vectors_that_are_not_there_are_missed_at_once(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_surroundings(replace(settings(), **changed), home=str(tmp_path), tracking_uri=None)


def test_images_that_torchvision_downloads_need_not_be_there(tmp_path: Path) -> None:
    mnist = DatasetSettings(name="torchvision", torchvision_name="MNIST", path=str(tmp_path / "new"), download=True)
    check_surroundings(replace(settings(), dataset=mnist), home=str(tmp_path), tracking_uri=None)


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="home: expected a folder that can be written, got .*--home"):
        check_surroundings(settings(), home=str(tmp_path / "file" / "home"), tracking_uri=None)


def test_servers_that_do_not_answer_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectionError, match="tracking uri: MLflow does not answer at http://127.0.0.1:1"):
        check_surroundings(settings(), home=str(tmp_path), tracking_uri="http://127.0.0.1:1")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    check_surroundings(settings(), home=str(tmp_path), tracking_uri=None)  # not asked where it is not needed
    with pytest.raises(ConnectionError, match="ray: no cluster answers at '127.0.0.1:1'"):
        check_surroundings(settings(), home=str(tmp_path), tracking_uri=None, ray=True)


def test_an_output_file_is_tried_before_the_work_and_not_left_empty(tmp_path: Path) -> None:
    assert open_output(None) is None
    assert open_output(str(tmp_path / "new" / "scores.json")) == tmp_path / "new" / "scores.json"
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "old.json").write_text("content")
    open_output(str(tmp_path / "old.json"))
    assert (tmp_path / "old.json").read_text() == "content"
    with pytest.raises(OSError, match="--save: expected a file that can be written, got "):
        open_output(str(tmp_path), option="--save")

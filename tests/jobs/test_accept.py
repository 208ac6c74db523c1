"""The way of `experiments/accept.py`: from two networks to a verdict in MLflow and in the registry."""

from __future__ import annotations

import dataclasses
import io
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from dfkd.data import load_dataset
from dfkd.jobs.accept import run_acceptance
from dfkd.jobs.console import Console
from dfkd.jobs.evaluate_options import EvaluateOptions
from dfkd.jobs.teacher import description_of
from dfkd.models import build_model
from dfkd.settings.acceptance import AcceptanceSettings
from dfkd.settings.experiment import DatasetSettings, ExperimentSettings, StudentSettings, TeacherSettings
from dfkd.teachers import Teacher, save_teacher
from dfkd.tracking.acceptance_tags import mark_acceptance, require_acceptance
from dfkd.tracking.home import default_tracking_uri

ROOT = Path(__file__).parents[2]
DIGITS = load_dataset(DatasetSettings(name="digits"))
NAME = "accepted-student"
URI = f"models:/{NAME}/1"


def network(seed: int) -> Teacher:
    """A network that was never trained."""
    torch.manual_seed(seed)
    return Teacher(
        model=build_model("digits_student", num_classes=10, in_channels=1).eval(), architecture="digits_student",
        class_names=DIGITS.class_names, image_shape=(1, 8, 8), mean=(0.3,), std=(0.4,), provenance=f"seed {seed}",
    )  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> ExperimentSettings:
    for seed in (0, 1):
        save_teacher(tmp_path / f"{seed}.safetensors", network(seed))
    return ExperimentSettings(
        dataset=DatasetSettings(name="digits"),
        teacher=TeacherSettings(weights=str(tmp_path / "0.safetensors")),
        student=StudentSettings(architecture="digits_student"),
        device="cpu",
    )


def register(home: Path, student: Teacher, *, teacher: Teacher) -> Any:
    """Register a student, and return MLflow's client."""
    from dfkd.tracking.card import StudentCard
    from dfkd.tracking.connection import import_mlflow
    from dfkd.tracking.registry import register_student

    client = import_mlflow().MlflowClient(default_tracking_uri(home))
    run_id = client.create_run(client.create_experiment(NAME, str(home / "artifacts"))).info.run_id
    card = StudentCard(
        num_classes=10,
        image_shape=(1, 8, 8),
        latency="0.5 ms an image on cpu",
        method="m", teacher_name="t", teacher_hash=teacher.hash, teacher_shifted=False, teacher_parameters=1,
        student_parameters=1, settings={}, scores={},
        learnt_from="synthetic images", data_free=True, selection_data="", objective="agreement", objective_value=0.5,
        direction="maximize", exam_hash="P", seed=0, commit="c", versions={},
    )  # fmt: skip
    register_student(
        default_tracking_uri(home), NAME, model=student.model, description=description_of(student), card=card,
        run_id=run_id,
    )  # fmt: skip
    return client


def accept(settings: ExperimentSettings, home: Path, **values: Any) -> tuple[bool, str]:
    printed = io.StringIO()
    options = EvaluateOptions(home=str(home), tracking_uri=default_tracking_uri(home), **values)
    return run_acceptance(settings, AcceptanceSettings(resamples=1000), options, Console(printed)), printed.getvalue()


def command(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: str) -> int:
    """Run a command in this process and return its exit status."""
    file = ROOT / "experiments" / script
    monkeypatch.syspath_prepend(str(file.parent))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it where another test names a store
    monkeypatch.setattr(sys, "argv", [str(file), *arguments])
    try:
        runpy.run_path(str(file), run_name="__main__")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_a_verdict_stays_with_the_version_and_promotion_can_require_it(
    settings: ExperimentSettings, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    client, uri = register(home, network(0), teacher=network(0)), default_tracking_uri(home)
    promotion = ("promote.py", NAME, "--version", "1", "--home", str(home), "--require-acceptance")
    assert command(monkeypatch, *promotion) == 2
    assert f"{URI}: it was never held against its teacher" in capsys.readouterr().err

    passed, printed = accept(settings, home, model=f"models:/{NAME}@champion", json_file=str(tmp_path / "out.json"))
    assert passed
    assert "\naccepted: in accuracy the student loses at most 2 points" in printed
    written = (tmp_path / "out.json").read_text()
    assert json.loads(written)["passed"] is True
    assert str(tmp_path) not in written
    assert command(monkeypatch, *promotion) == 0
    assert "accepted by accuracy, margin 0.02, confidence 0.95; 360 of digits, test" in capsys.readouterr().out

    assert not accept(settings, home, model=URI, teacher=str(tmp_path / "1.safetensors"))[0]
    with pytest.raises(ValueError, match=rf"{URI}: it was not accepted \(MLflow run"):
        require_acceptance(uri, URI)
    mark_acceptance(uri, URI, {"acceptance": "passed"})
    with pytest.raises(ValueError, match="it was accepted beside another teacher"):
        require_acceptance(uri, URI)

    run = client.get_run(client.get_model_version(NAME, "1").tags["acceptance_run"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["dfkd.accepted"] == "false"
    assert run.data.metrics["acceptance/passed"] == 0
    assert "Not accepted" in run.data.tags["mlflow.note.content"]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"acceptance.md", "acceptance.json"}


def test_without_labels_nothing_is_judged(settings: ExperimentSettings, home: Path, tmp_path: Path) -> None:
    (tmp_path / "images" / "validation").mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "images" / "validation" / "0.png")
    for name in DIGITS.class_names:
        (tmp_path / "images" / "train" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "images" / "train" / name / "0.png")
    unlabelled = dataclasses.replace(
        settings, dataset=DatasetSettings(name="image_folder", path=str(tmp_path / "images"))
    )
    with pytest.raises(ValueError, match="labels: these images have none"):
        accept(unlabelled, home, model="unused", split="validation")


def test_the_commands_exit_status_is_the_verdict(
    settings: ExperimentSettings, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [str(tmp_path / f"{seed}.safetensors") for seed in (1, 0)]
    common = ("search_spaces/digits_cae.yaml", "--teacher", files[1], "--home", str(home), "--split", "validation")
    monkeypatch.chdir(ROOT)
    assert command(monkeypatch, "accept.py", files[0], *common) == 3
    assert command(monkeypatch, "accept.py", files[1], *common, "--set", "acceptance.margin=0.05") == 0


def test_a_misspelt_rule_is_named() -> None:
    finished = subprocess.run(
        [sys.executable, "experiments/accept.py", "nowhere.safetensors", "search_spaces/digits_cae.yaml", "--set",
         "acceptance.margn=0.1"],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert finished.returncode == 2
    assert "Did you mean 'margin'" in finished.stderr

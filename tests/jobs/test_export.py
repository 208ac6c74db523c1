"""A registered student as files, each run as its user would run it."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from dfkd.data import load_dataset
from dfkd.data.image_set import ImageSet
from dfkd.jobs.console import Console
from dfkd.jobs.export import ExportedFile, _Trial, run_export, title_of
from dfkd.jobs.export_options import ExportOptions
from dfkd.jobs.teacher import description_of
from dfkd.models import build_model
from dfkd.probe_set import RECIPE_VERSION
from dfkd.settings.experiment import (
    DatasetSettings,
    ExperimentSettings,
    StudentSettings,
    TeacherSettings,
    TeacherTrainingSettings,
)
from dfkd.supervised import train_teacher
from dfkd.teachers import Teacher, save_teacher
from dfkd.tracking.home import default_tracking_uri
from dfkd.tracking.model_package import ImageClassifier

pytestmark = pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs the extra [export]")
ROOT = Path(__file__).parents[2]
MODEL = "models:/shipped-student@champion"
TEACHER_HASH = "5e" * 32
SETTINGS = ExperimentSettings(
    dataset=DatasetSettings(name="digits"),
    teacher=TeacherSettings(architecture="digits_student"),
    student=StudentSettings(architecture="digits_student"),
)


@dataclass(frozen=True)
class Shipped:
    """A student, the folder that it was exported to, and what was said."""

    student: Teacher
    folder: Path
    files: dict[str | None, ExportedFile]
    printed: str
    test: ImageSet

    def original(self, pixels: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = self.student.model(self.student.normalise(pixels))
        return logits


def trained_student() -> Teacher:
    data = load_dataset(SETTINGS.dataset)
    assert data.train is not None
    mean, std = data.normalisation()
    torch.manual_seed(0)
    model = build_model("digits_student", num_classes=10, in_channels=1)
    training = TeacherTrainingSettings(epochs=8, batch_size=32)
    epochs = train_teacher(
        model, data.train, training, mean=mean, std=std, crop_padding=0, horizontal_flip=False,
        device=torch.device("cpu"),
    )  # fmt: skip
    for _ in epochs:
        pass
    return Teacher(
        model=model.eval(), architecture="digits_student", class_names=data.class_names, image_shape=(1, 8, 8),
        mean=mean, std=std, provenance="made in a test",
    )  # fmt: skip


def keep_probe_set(student: Teacher, home: Path) -> None:
    """Put a small one where a search has put that of the student's teacher."""
    random = torch.rand(200, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    images = nn.functional.interpolate(random, scale_factor=2).mul(255).to(torch.uint8)
    with torch.no_grad():
        logits = student.model(student.normalise(images.float() / 255))
    file = home / "probe_sets" / f"{TEACHER_HASH}-v{RECIPE_VERSION}.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({"images": images, "teacher_logits": logits}, file)


def register(student: Teacher, home: Path) -> None:
    from dfkd.tracking.card import StudentCard
    from dfkd.tracking.connection import import_mlflow
    from dfkd.tracking.registry import register_student

    uri = default_tracking_uri(home)
    client = import_mlflow().MlflowClient(uri)
    run_id = client.create_run(client.create_experiment("shipped", str(home / "artifacts"))).info.run_id
    card = StudentCard(
        num_classes=10,
        image_shape=(1, 8, 8),
        latency="0.5 ms an image on cpu",
        method="m", teacher_name="t", teacher_hash=TEACHER_HASH, teacher_shifted=False, teacher_parameters=1,
        student_parameters=1, settings={}, scores={},
        learnt_from="synthetic images", data_free=True, selection_data="", objective="agreement", objective_value=0.5,
        direction="maximize", exam_hash="P", seed=0, commit="c", versions={},
    )  # fmt: skip
    register_student(
        uri, "shipped-student", model=student.model, description=description_of(student), card=card, run_id=run_id
    )


@pytest.fixture(scope="module")
def shipped(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    student, folder = trained_student(), tmp_path_factory.mktemp("exported") / "数字 student"
    keep_probe_set(student, home)
    register(student, home)
    printed = io.StringIO()
    options = ExportOptions(model=MODEL, output=str(folder), home=str(home), tracking_uri=default_tracking_uri(home))
    files = run_export(options, SETTINGS, Console(printed))
    test = load_dataset(SETTINGS.dataset).test
    assert test is not None
    return Shipped(student, folder, {found.file: found for found in files}, printed.getvalue(), test)


@pytest.mark.parametrize("batch_size", [1, 2, 17, 360])
def test_float32_files_compute_the_students_logits_in_any_batch(shipped: Shipped, batch_size: int) -> None:
    import onnxruntime

    program = torch.export.load(shipped.folder / "model.pt2").module()
    session = onnxruntime.InferenceSession(str(shipped.folder / "model.onnx"), providers=["CPUExecutionProvider"])
    random = torch.rand(batch_size, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for pixels in (random, shipped.test.images[:batch_size].float() / 255):
        expected = shipped.original(pixels)
        assert expected.std() > 0.5
        assert (program(pixels) - expected).abs().max() <= 1e-4
        assert numpy.abs(session.run(["logits"], {"images": pixels.numpy()})[0] - expected.numpy()).max() <= 1e-4


def test_int8_is_judged_by_agreement_and_is_smaller(shipped: Shipped) -> None:
    original, rounded = shipped.files[None], shipped.files["model.int8.onnx"]
    assert original.agreement == {"synthetic": 1.0, "given": 1.0}
    assert 0.9 < rounded.agreement["given"] <= 1.0 and 0.9 < rounded.agreement["synthetic"] <= 1.0
    assert rounded.largest_difference > 1e-3  # it is really another
    assert original.accuracy is not None and rounded.accuracy is not None
    assert original.accuracy > 0.8 and abs(original.accuracy - rounded.accuracy) < 0.05
    assert rounded.megabytes < shipped.files["model.onnx"].megabytes
    assert all(found.milliseconds > 0 for found in shipped.files.values())


def test_what_is_known_of_the_files_is_said_and_written(shipped: Shipped) -> None:
    facts = json.loads((shipped.folder / "export.json").read_text())
    assert facts["class_names"] == list(shipped.student.class_names)
    assert facts["input"] == {"name": "images", "shape": ["batch", 1, 8, 8], "type": "float32", "range": [0, 1]}
    assert {entry["file"] for entry in facts["files"]} == {None, "model.pt2", "model.onnx", "model.int8.onnx"}
    assert facts["hash"] == shipped.student.hash
    assert facts["synthetic_images"] == f"the probe set of the teacher {TEACHER_HASH[:16]}"
    assert "100 synthetic images" in shipped.printed  # the other half calibrated int8
    assert "360 given images" in shipped.printed and "model.int8.onnx" in shipped.printed


def test_no_file_names_this_machines_folders(shipped: Shipped) -> None:
    for name in ("model.onnx", "model.int8.onnx", "model.pt2", "predict.py"):
        content = (shipped.folder / name).read_bytes()
        assert str(Path(__file__).parents[2]).encode() not in content and b"dfkd" not in content, name


def test_the_snippet_predicts_what_the_student_does(shipped: Shipped, tmp_path: Path) -> None:
    files = []
    for row in range(6):
        files.append(str(tmp_path / f"digit {row}.png"))
        Image.fromarray(shipped.test.images[row, 0].numpy()).save(files[-1])
    finished = subprocess.run(
        [sys.executable, "-I", str(shipped.folder / "predict.py"), *files], capture_output=True, text=True, cwd=tmp_path
    )  # -I: nothing of this package is on the path
    assert finished.returncode == 0, finished.stderr
    answers = shipped.original(shipped.test.images[:6].float() / 255).softmax(dim=1).max(dim=1)
    expected = [
        f"{file}: {shipped.student.class_names[label]} ({share:.1%})"
        for file, label, share in zip(files, answers.indices.tolist(), answers.values.tolist(), strict=True)
    ]
    assert finished.stdout.splitlines() == expected


def test_a_file_that_computes_something_else_is_refused(shipped: Shipped) -> None:
    class Off(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return original(images) + 0.01

    original = ImageClassifier(shipped.student.model, mean=shipped.student.mean, std=shipped.student.std).eval()
    trial = _Trial(original, shipped.test.images[:40], None)
    trial.require_same(trial.judge(Path("same"), original, 1))
    with pytest.raises(ValueError, match=r"wrong.onnx differs from the network by 0.01.* in a logit .* Do not ship it"):
        trial.require_same(trial.judge(Path("wrong.onnx"), Off(), 1))


def test_images_of_other_classes_or_another_size_are_refused(shipped: Shipped, home: Path, tmp_path: Path) -> None:
    other = ExperimentSettings(
        dataset=DatasetSettings(name="digits", image_size=16),
        teacher=TeacherSettings(architecture="digits_student"),
        student=StudentSettings(architecture="digits_student"),
    )
    save_teacher(tmp_path / "student.safetensors", shipped.student)
    options = ExportOptions(model=str(tmp_path / "student.safetensors"), output=str(tmp_path / "out"), home=str(home))
    with pytest.raises(ValueError, match=r"dataset: its images are \[1, 16, 16\] \(C, H, W\), the network takes"):
        run_export(options, other, Console(io.StringIO()))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "title"),
    [("models:/a-student@champion", "a-student"), ("models:/a-student/3", "a-student"), ("/x/own.safetensors", "own")],
)
def test_a_title_is_the_models_name(model: str, title: str) -> None:
    assert title_of(model) == title


def test_a_title_cannot_end_the_snippets_docstring() -> None:
    from dfkd.export import snippet

    text = snippet(title='""" + x', source="C:\\models", class_names=('a "b"', "猫"), image_shape=(3, 8, 8), int8=False)
    compile(text, "predict.py", "exec")
    assert "CLASS_NAMES = ['a \"b\"', '猫']" in text and "int8" not in text


@pytest.mark.slow
def test_the_command_exports_a_file_with_images_made_from_the_network_itself(shipped: Shipped, tmp_path: Path) -> None:
    save_teacher(tmp_path / "own.safetensors", shipped.student)
    arguments = [str(tmp_path / "own.safetensors"), "--output", str(tmp_path / "out"), "--home", str(tmp_path / "home")]
    finished = subprocess.run(
        [sys.executable, "experiments/export.py", *arguments, "--no-int8"], capture_output=True, text=True, cwd=ROOT
    )
    assert finished.returncode == 0, finished.stderr
    assert "a probe set made from the network itself" in finished.stdout
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "model.pt2", "model.onnx", "predict.py", "export.json",
    }  # fmt: skip
    assert not (tmp_path / "home" / "mlflow.db").exists()


@pytest.mark.slow
def test_mlflow_serves_the_registered_student(shipped: Shipped, home: Path, tmp_path: Path) -> None:
    """A picture goes in as JSON, as a program of another language would send it; logits come back."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["mlflow", "models", "serve", "--model-uri", MODEL, "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"MLFLOW_TRACKING_URI": default_tracking_uri(home), "OMP_NUM_THREADS": "1"}
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", *command, "--env-manager", "local"], cwd=tmp_path, env=environment,
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/ping", tmp_path / "server.log")
        pixels = shipped.test.images[:1].float() / 255
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            data=json.dumps({"inputs": pixels.tolist()}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            predictions = json.load(answer)["predictions"]
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)
    assert torch.allclose(torch.tensor(predictions), shipped.original(pixels), atol=1e-4)


def wait_until_it_answers(address: str, log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-3000:])

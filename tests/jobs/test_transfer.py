"""The way of `experiments/evaluate.py` with a file of tasks, from the network to the numbers."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.config import load_settings
from dfkd.jobs.console import Console
from dfkd.jobs.evaluate_options import EvaluateOptions
from dfkd.jobs.transfer import ConsoleProgress, run_transfer
from dfkd.models import build_model
from dfkd.settings.tasks import TransferSettings
from dfkd.tasks.transfer_tasks import TRANSFER_TASKS
from dfkd.teachers import Teacher, save_teacher

ROOT = Path(__file__).parents[2]
TASKS = {
    "probe": {"task": "linear_probe", "dataset": {"name": "digits"}, "epochs": 3, "augment": False},
    "neighbours": {"task": "nearest_neighbours", "dataset": {"name": "digits"}},
}


def settings(**values: Any) -> TransferSettings:
    return load_settings(TransferSettings, {"transfer": TASKS, "device": "cpu"} | values, where="test")


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A network that was never trained, in a file."""
    torch.manual_seed(0)
    teacher = Teacher(
        model=build_model("digits_student", num_classes=2, in_channels=1).eval(), architecture="digits_student",
        class_names=("a", "b"), image_shape=(1, 8, 8), mean=(0.3,), std=(0.4,), provenance="made in a test",
    )  # fmt: skip
    save_teacher(tmp_path / "model.safetensors", teacher)
    return str(tmp_path / "model.safetensors")


def run(settings: TransferSettings, tmp_path: Path, **options: Any) -> tuple[dict[str, float], str]:
    printed = io.StringIO()
    options = {"home": str(tmp_path / "home")} | options
    return run_transfer(settings, EvaluateOptions(**options), Console(printed)), printed.getvalue()


def test_scores_are_printed_returned_and_written_without_this_machines_folders(model: str, tmp_path: Path) -> None:
    scores, printed = run(settings(path="/secret/digits"), tmp_path, model=model, json_file=str(tmp_path / "out.json"))
    assert set(scores) == {"probe/top1", "neighbours/top1"}
    assert scores["neighbours/top1"] > 0.5  # 10 classes: chance is 0.1
    assert f"  neighbours/top1                          {scores['neighbours/top1']:.4f}" in printed
    written = (tmp_path / "out.json").read_text()
    facts = json.loads(written)
    assert facts["test"] == scores
    assert facts["model"]["architecture"] == "digits_student"
    assert facts["tasks"]["probe"]["learning_rate"] == 0.05
    assert "secret" not in written
    assert list((tmp_path / "home" / "transfer").iterdir()) == []  # nothing is left of a command that ended


def test_only_the_tasks_that_are_asked_for_run(model: str, tmp_path: Path) -> None:
    scores, _ = run(settings(), tmp_path, model=model, tasks=("neighbours",), split="validation")
    assert list(scores) == ["neighbours/top1"]


def test_an_interrupted_command_goes_on_where_it_was(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_and_trained = {name: TASKS[name] for name in ("neighbours", "probe")}
    tasks = settings(transfer=first_and_trained)
    expected, _ = run(tasks, tmp_path, model=model)
    report = ConsoleProgress.report

    def interrupted(self: ConsoleProgress, *, done: int, **values: Any) -> None:
        report(self, done=done, **values)
        if done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("dfkd.jobs.transfer.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(ConsoleProgress, "report", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tasks, tmp_path, model=model)
    monkeypatch.setattr(ConsoleProgress, "report", report)
    monkeypatch.setitem(TRANSFER_TASKS, "nearest_neighbours", lambda *_: pytest.fail("it was done"))
    scores, printed = run(tasks, tmp_path, model=model)
    assert "neighbours: done before an interruption" in printed
    assert "probe: going on after epoch 2" in printed
    assert scores == expected


def test_another_seed_is_another_command(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = replace(settings(), seed=1)
    monkeypatch.setitem(TRANSFER_TASKS, "nearest_neighbours", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(began, tmp_path, model=model)
    monkeypatch.undo()
    assert "done before" not in run(settings(), tmp_path, model=model)[1]
    assert "probe: done before an interruption" in run(began, tmp_path, model=model)[1]


def test_progress_says_what_is_left_and_keeps_the_state(tmp_path: Path) -> None:
    printed = io.StringIO()
    store = CheckpointStore(str(tmp_path / "state"), keep=1)
    progress = ConsoleProgress("probe", store, Console(printed))
    assert progress.restore() is None
    progress.report(done=1, epochs=3, loss=1.0, state={"epoch": 1})
    assert printed.getvalue() == ""  # that was just begun
    progress.report(done=3, epochs=3, loss=0.5, state={"epoch": 3})
    assert "probe: epoch 3/3, loss 0.5000, 0 s left" in printed.getvalue()
    assert progress.restore() == {"epoch": 3}


def test_an_untrained_network_is_the_floor(tmp_path: Path) -> None:
    grey = {"name": "digits", "channels": 1}
    tasks = settings(transfer={"neighbours": {"task": "nearest_neighbours", "dataset": grey}})
    scores, printed = run(tasks, tmp_path, model="untrained:digits_student")
    assert "untrained, seed 0: digits_student" in printed
    assert 0.1 < scores["neighbours/top1"] < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher": "other.safetensors"}, "--teacher: these tasks judge one network alone"),
        ({"split": "train"}, "--split: these tasks learn from the train images; take validation or test"),
        ({"tasks": ("neighbors",)}, "--task: 'neighbors' is unknown. Did you mean 'neighbours'"),
    ],
)
def test_options_that_cannot_be_are_named(model: str, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(settings(), tmp_path, model=model, **options)


def test_scores_on_drawn_scenes_are_written_to_no_file(tmp_path: Path) -> None:
    scenes = {"name": "scenes", "image_size": [16, 16], "max_images": 4}
    tasks = settings(transfer={"far": {"task": "depth", "dataset": scenes, "epochs": 1, "width": 8}})
    with pytest.raises(ValueError, match="--json: 'far' runs on drawn scenes, which test the plumbing"):
        run(tasks, tmp_path, model="untrained:resnet8", json_file=str(tmp_path / "out.json"))
    assert not (tmp_path / "out.json").exists()
    assert set(run(tasks, tmp_path, model="untrained:resnet8")[0]) == {
        "plumbing/far/rmse", "plumbing/far/abs_rel", "plumbing/far/delta_1",
    }  # fmt: skip


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks" / "transfer").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_benchmarks_name_settings_that_exist(file: Path) -> None:
    from dfkd.config import read_yaml

    assert load_settings(TransferSettings, read_yaml(file), where=str(file)).transfer


def test_the_command_puts_a_network_to_a_file_of_tasks(model: str, tmp_path: Path) -> None:
    (tmp_path / "tasks.yaml").write_text("transfer: {near: {task: nearest_neighbours, dataset: {name: digits}}}\n")
    command = [sys.executable, "experiments/evaluate.py", model, str(tmp_path / "tasks.yaml"), "--task"]
    common = ["--home", str(tmp_path / "home"), "--json", str(tmp_path / "out.json")]
    finished = subprocess.run([*command, "near", *common], capture_output=True, text=True, cwd=ROOT)
    assert finished.returncode == 0, finished.stderr
    assert f"near/top1                                {read(tmp_path)['test']['near/top1']:.4f}" in finished.stdout
    assert not (tmp_path / "home" / "mlflow.db").exists()
    misspelt = subprocess.run([*command, "nera", *common], capture_output=True, text=True, cwd=ROOT)
    assert misspelt.returncode == 2
    assert "--task: 'nera' is unknown. Did you mean 'near'?" in misspelt.stderr


def read(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return facts

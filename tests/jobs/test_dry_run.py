"""The plan of a command: everything that can be refused is, and nothing is begun."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dfkd.assembly import Materials
from dfkd.export import onnx_file
from dfkd.jobs.console import Console
from dfkd.jobs.distill_options import DistillOptions
from dfkd.jobs.distillation_folder import open_run_folder
from dfkd.jobs.dry_run import show_distillation_plan, show_search_plan
from dfkd.jobs.epoch_seconds import EpochSeconds, time_epochs
from dfkd.jobs.search_options import SearchOptions
from dfkd.search.load import load_space
from dfkd.settings.experiment import ExperimentSettings
from dfkd.teachers import Teacher, build_network, save_teacher

ROOT = Path(__file__).parents[2]
SMOKE = str(ROOT / "search_spaces" / "smoke.yaml")
DIGITS = tuple("zero one two three four five six seven eight nine".split())
Make = Callable[..., ExperimentSettings]


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def search_plan(home: Path, *overrides: str, trials: int = 5, **options: Any) -> dict[str, str]:
    """Return the plan's lines by their names."""
    said = io.StringIO()
    space = load_space(SMOKE, ["device=cpu", *overrides], trials=trials)
    show_search_plan(space, SearchOptions(home=str(home), **options), Console(said))
    return lines(said)


def lines(said: io.StringIO) -> dict[str, str]:
    found = (re.fullmatch(r"  (\S+) +(.*)", line) for line in said.getvalue().splitlines())
    return {match[1]: match[2] for match in found if match} | {"text": said.getvalue()}


def test_a_searchs_plan_says_what_is_run_and_starts_nothing(tmp_path: Path) -> None:
    plan = search_plan(tmp_path, "seed=3")
    assert plan["trials"].startswith(
        "5 (1 with 2 workers on Ray Train, 4 searched by tpe, which draws its first 10 at random and so all of these); "
    )
    assert plan["workers"] == "1 a run, each with a CPU"
    assert plan["teacher"] == (
        "to be trained for 3 epochs and registered as models:/digits-teacher (digits_teacher, 65,834 parameters)"
    )
    assert plan["student"] == "digits_student, 10,986 parameters"
    assert plan["data"] == "digits: train 1,077, validation 360, test 360; 1x8x8, 10 classes"
    assert plan["epochs"] == "1 of warm-up, 2 of 3 steps of 32 images"
    assert (plan["objective"], plan["needs"]) == ("agreement (maximize)", "no real image")
    assert plan["searched"] == "distillation.learning_rate: 0.05 to 0.4, log uniform (default 0.1)"
    assert "\n             synthesis.contrast.kind: none, bank (default bank)\n" in plan["text"]
    assert plan["MLflow"] == f"experiment 'smoke' at sqlite:///{tmp_path}/mlflow.db"
    assert plan["writes"].startswith(f"{tmp_path}/searches/smoke-<time>")
    assert re.match(r"about \d+ s for the trials, by one epoch here: \d+\.\d s an epoch of warm-up", plan["time"])
    assert list(tmp_path.iterdir()) == []


def given_teacher(folder: Path) -> Path:
    """Write the file of a teacher."""
    model = build_network("digits_teacher", num_classes=10, in_channels=1).eval()
    teacher = Teacher(
        model=model, architecture="digits_teacher", class_names=DIGITS, image_shape=(1, 8, 8), mean=(0.3,), std=(0.4,),
        provenance="made in a test",
    )  # fmt: skip
    save_teacher(file := folder / "my teacher.safetensors", teacher)
    return file


def test_a_teacher_at_hand_is_the_one_that_is_timed(tmp_path: Path) -> None:
    settings = load_space(SMOKE, [f"teacher.weights={given_teacher(tmp_path)}", "device=cpu"]).resolve({})
    said, home = io.StringIO(), tmp_path / "home"
    show_distillation_plan(settings, DistillOptions(name="mine", home=str(home)), Console(said))
    plan = lines(said)
    assert plan["teacher"].startswith("my teacher.safetensors")
    assert plan["writes"] == f"{home}/distillations/mine"
    assert "of distillation, by one epoch here" in plan["time"]
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["student.architecture=lenet5"], "lenet5: expected images of 32x32 or 28x28 pixels"),
        (["label_embeddings={name: file, path: /nowhere.safetensors}"], "/nowhere.safetensors"),
    ],
)
def test_what_would_end_a_search_ends_its_plan(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search_plan(tmp_path, *overrides)


def test_what_its_options_would_end_a_search_for_ends_its_plan(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    weights = f"teacher.weights={given_teacher(tmp_path)}"
    home = tmp_path / "home"
    with pytest.raises(ValueError, match="teacher.weights: a teacher that is given cannot be trained anew"):
        search_plan(home, weights, retrain_teacher=True)
    with pytest.raises(OSError, match="--json: expected a file that can be written"):
        search_plan(home, json_file=str(tmp_path / "file" / "new" / "out.json"))
    with pytest.raises(OSError, match="--storage: expected a folder or URI that can be written"):
        search_plan(home, storage=str(tmp_path / "file" / "new"))
    with pytest.raises(ConnectionError, match="there is no folder '/nowhere'"):
        search_plan(home, tracking_uri="sqlite:////nowhere/mlflow.db")
    assert list(home.iterdir()) == []


def test_the_images_of_a_further_objective_are_looked_at(tmp_path: Path) -> None:
    few = "{type: transfer, by: {task: few_shot, shots: [1], dataset: {name: image_folder, path: /nowhere}}}"
    space = tmp_path / "space.yaml"
    space.write_text(f"{Path(SMOKE).read_text()}\nfurther_objectives: {{few: {few}}}\n")
    with pytest.raises(ValueError, match="further_objectives.few.by: .*/nowhere"):
        show_search_plan(
            load_space(str(space), ["device=cpu"]), SearchOptions(home=str(tmp_path)), Console(io.StringIO())
        )


def test_a_distillations_options_are_checked_and_told_and_leave_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings = load_space(SMOKE, [f"teacher.weights={given_teacher(tmp_path)}", "device=cpu"]).resolve({})
    open_run_folder(home / "distillations" / "mine", replace(settings, seed=7))
    said = io.StringIO()
    options = DistillOptions(home=str(home), name="mine", storage=f"{tmp_path}/new/a", json_file=f"{tmp_path}/new/b")
    with pytest.raises(ValueError, match="--name: 'mine' was begun with other settings"):
        show_distillation_plan(settings, options, Console(said))
    show_distillation_plan(settings, replace(options, name="yours"), Console(said))
    plan = lines(said)
    assert plan["writes"] == f"{home}/distillations/yours; checkpoints under {tmp_path}/new/a"
    assert f"the outcome to {tmp_path}/new/b" in plan["text"]
    assert not (tmp_path / "new").exists() and not (home / "distillations" / "yours").exists()


def test_what_the_compression_of_the_teacher_needs_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None)
    settings = load_space(SMOKE, ["device=cpu"]).resolve({})
    with pytest.raises(ValueError, match="--compress-teacher"):
        show_distillation_plan(
            settings, DistillOptions(home=str(tmp_path), compress_teacher=True), Console(io.StringIO())
        )


def test_a_plan_to_resume_what_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--resume: found no earlier search 'smoke'"):
        search_plan(tmp_path, resume=True)


def test_a_run_takes_its_warm_up_its_learning_and_its_judging(tiny_settings: Make) -> None:
    settings = tiny_settings(distillation={"epochs": 10})  # and one of warm-up
    seconds = EpochSeconds(warm_up=5.0, learning=2.0, judging=1.0)
    assert seconds.of_run(settings) == 5 + 20 + 11
    assert seconds.of_run(settings, learning_epochs=4) == 5 + 8 + 5


def test_epochs_are_timed_with_the_threads_that_a_worker_has_and_leave_the_teacher_alone(
    tiny_settings: Make, tiny_materials: Materials
) -> None:
    threads, before = torch.get_num_threads(), tiny_materials.teacher.hash
    seconds = time_epochs(tiny_settings(), tiny_materials, threads=1)
    assert min(seconds.warm_up, seconds.learning, seconds.judging) > 0
    assert time_epochs(tiny_settings(warm_up_epochs=0), tiny_materials).warm_up == 0
    assert torch.get_num_threads() == threads
    assert replace(tiny_materials.teacher, hash="").hash == before

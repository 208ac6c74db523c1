"""What a user got wrong, through the commands: told in words, and before anything heavy is loaded."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

SMOKE = "search_spaces/smoke.yaml"
ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "ray", "mlflow", "optuna", "pandas")
Run = Callable[..., Any]


def edited(folder: Path, old: str, new: str) -> str:
    """Write the smoke space with one thing changed."""
    text = (ROOT / SMOKE).read_text()
    assert text.count(old) == 1, old
    file = folder / "space.yaml"
    file.write_text(text.replace(old, new))
    return str(file)


def loaded(errors: str) -> set[str]:
    """Read off ``-X importtime`` which libraries a command imported."""
    lines = [line for line in errors.splitlines() if line.startswith("import time:")]
    assert len(lines) > 50
    return {line.rpartition("|")[2].strip() for line in lines}


STATIC: dict[str, tuple[str, str, str]] = {
    "a misspelt key": ("generator_steps", "generator_stepz", "generator_stepz.*Did you mean 'generator_steps'"),
    "a misspelt choice": (
        "architecture: digits_student",
        "architecture: digits_studnt",
        "Did you mean 'digits_student'",
    ),
    "a misspelt method setting": ("contrast.kind:", "contrast.kin:", "synthesis.contrast.kin.*Did you mean 'kind'"),
    "a misspelt objective": ("metric: agreement", "metric: agrement", "agrement.*Did you mean 'agreement'"),
    "a range upside down": ("low: 0.05, high: 0.4", "low: 0.4, high: 0.05", "lies above high"),
    "a logarithm from zero": ("low: 0.05", "low: 0", "a logarithmic range must begin above 0"),
    "an objective without its task": ("metric: agreement", "metric: val_balanced_accuracy", "needs the task 'binary'"),
    "a bank without room": ("bank_capacity:", "bank_capacity: 1 #", "bank_capacity: expected room for one round's"),
    "no image to train on": (
        "dataset: {name: digits, title: digits, crop_padding: 1, horizontal_flip: false}",
        "dataset: {name: none, image_size: 8, channels: 1, class_names: [a, b]}",
        "teacher.weights: dataset 'none' has no image to train a teacher on",
    ),
    "a class named twice": ("title: digits,", "class_names: [a, a],", "class_names: 'a' stands twice"),
    "a foreign setting": ("warm_up_rounds: 1", "momentum: 1", "synthesis.momentum"),
}


@pytest.mark.parametrize("mistake", STATIC)
def test_a_mistake_in_the_file_is_told_before_anything_heavy_is_loaded(run: Run, tmp_path: Path, mistake: str) -> None:
    old, new, message = STATIC[mistake]
    done = run("-Ximporttime", "search.py", edited(tmp_path, old, new), "--home", str(tmp_path / "home"))
    assert done.status == 2
    said = "\n".join(line for line in done.errors.splitlines() if not line.startswith("import time:"))
    assert re.search(message, said), said
    assert said.startswith("error: ") and "Traceback" not in said
    assert not loaded(done.errors) & set(HEAVY)
    assert done.processor_seconds < 2
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "is empty"), ("a: [1, 2", "space.yaml"), ("- a list", "space.yaml"), ("name: x", "experiment")],
    ids=["empty", "broken", "a list", "nearly nothing"],
)
@pytest.mark.parametrize("command", ["search.py", "distill.py", "train_teacher.py"])
def test_a_file_that_is_no_config_is_told_at_once(
    run: Run, tmp_path: Path, command: str, content: str, message: str
) -> None:
    (tmp_path / "space.yaml").write_text(content)
    done = run(command, str(tmp_path / "space.yaml"), "--home", str(tmp_path / "home"))
    assert done.status == 2
    assert message in done.errors or (content == "name: x" and "dataset" in done.errors), done.errors
    assert "Traceback" not in done.errors
    assert done.processor_seconds < 2


@pytest.mark.parametrize("command", ["search.py", "distill.py", "train_teacher.py"])
def test_surroundings_are_checked_before_anything_heavy_is_loaded(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("")
    home = ["--home", str(tmp_path / "home")]
    mistakes = {
        "teacher.weights: .* does not exist": [*home, "--set", f"teacher.weights={tmp_path}/missing.safetensors"],
        "MLflow does not answer at http://127.0.0.1:1": [*home, "--tracking-uri", "http://127.0.0.1:1"],
        "home: expected a folder that can be written": ["--home", str(tmp_path / "file" / "home")],
    }
    if os.path.isdir("/proc"):
        mistakes["home: expected a folder that can be written, got '/proc"] = ["--home", "/proc/home"]  # read-only
    for message, arguments in mistakes.items():
        done = run(command, SMOKE, *arguments)
        assert done.status == 2
        assert re.match("error: .*" + message, done.errors), done.errors
        assert done.processor_seconds < 2
    done = run(command, SMOKE, *home, MLFLOW_TRACKING_URI="http://127.0.0.1:1")
    assert done.status == 2 and "MLflow does not answer" in done.errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", "seed=1764300000000000000"), "seed: expected a seed from 0 to 4294967295"),
        (("--resume", "--retrain-teacher"), "--retrain-teacher: the trials of a search share one teacher"),
    ],
    ids=["a seed that is too large", "a teacher of its own for the rest of a search"],
)
def test_options_that_cannot_be_are_told_at_once(
    run: Run, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    done = run("search.py", SMOKE, "--home", str(tmp_path / "home"), *options)
    assert done.status == 2
    assert done.errors.startswith("error: ") and message in done.errors
    assert done.processor_seconds < 2
    assert not (tmp_path / "home" / "mlflow.db").exists()


@pytest.mark.parametrize(("command", "name"), [("distill.py", ".."), ("train_teacher.py", "a/b")])
def test_a_name_that_would_leave_its_folder_is_told_before_anything_is_trained(
    run: Run, tmp_path: Path, command: str, name: str
) -> None:
    done = run(command, SMOKE, "--home", str(tmp_path / "home"), "--name", name)
    assert done.status == 2
    assert done.errors.startswith("error: --name: expected only letters, digits, '-', '_' and '.', a letter or digit")
    assert f"got '{name}'" in done.errors
    assert done.processor_seconds < 2
    assert not (tmp_path / "home").exists()


def test_an_export_is_refused_before_anything_heavy_is_loaded(run: Run, tmp_path: Path) -> None:
    there = ["--output", str(tmp_path / "out"), "--home", str(tmp_path / "home")]
    student = "models:/digits-student@champion"
    mistakes = {
        "MLflow does not answer at http://127.0.0.1:1": [student, *there, "--tracking-uri", "http://127.0.0.1:1"],
        "model: .*missing.safetensors does not exist": [f"{tmp_path}/missing.safetensors", *there],
        "--set: overrides settings of a config, and none is named": [student, *there, "--set", "seed=1"],
    }
    for message, arguments in mistakes.items():
        done = run("export.py", *arguments)
        assert done.status == 2
        assert re.match("error: .*" + message, done.errors), done.errors
        assert done.processor_seconds < 2
    assert not (tmp_path / "out").exists()


EVALUATE = ("evaluate.py", "models:/digits-student@champion", SMOKE)


def test_an_evaluation_is_refused_before_anything_heavy_is_loaded(run: Run, tmp_path: Path) -> None:
    home = ["--home", str(tmp_path / "home")]
    mistakes = {
        "MLflow does not answer at http://127.0.0.1:1": [*EVALUATE, *home, "--tracking-uri", "http://127.0.0.1:1"],
        "home: expected a folder that can be written": [*EVALUATE, "--home", "/dev/null/home"],
        "model: .*missing.safetensors does not exist": ["evaluate.py", f"{tmp_path}/missing.safetensors", SMOKE, *home],
        "model: .*absent.safetensors does not exist": [  # that of the config's teacher is not looked for
            *("evaluate.py", f"{tmp_path}/absent.safetensors", SMOKE, *home, "--teacher", "models:/other/1"),
            *("--set", f"teacher.weights={tmp_path}/missing.safetensors"),
        ],
        "--teacher: .*missing.safetensors does not": [*EVALUATE, *home, "--teacher", f"{tmp_path}/missing.safetensors"],
    }
    for message, command in mistakes.items():
        done = run(*command)
        assert done.status == 2
        assert re.match("error: .*" + message, done.errors), done.errors
        assert done.processor_seconds < 2


def test_a_result_file_that_cannot_be_written_is_told_before_the_work(run: Run, tmp_path: Path) -> None:
    home = ["--home", str(tmp_path / "home")]
    done = run(*EVALUATE, *home, "--json", "/dev/null/scores.json")
    assert done.status == 2
    assert done.errors.startswith("error: --json: expected a file that can be written")
    assert not (tmp_path / "home" / "mlflow.db").exists()  # MLflow was not even asked


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("promote.py", "digits-student", "--version", "3"), "tracking uri: MLflow does not answer"),
        (("deliver.py", "/nowhere"), "deliver: expected the folder of a journal"),
        (("make_label_embeddings.py", "--model", "/nowhere", "--output", "OUTPUT"), "--model: expected a folder"),
    ],
    ids=["promote", "deliver", "make_label_embeddings"],
)
def test_every_command_tells_errors_in_the_same_way(
    run: Run, tmp_path: Path, command: tuple[str, ...], message: str
) -> None:
    command = tuple(argument.replace("OUTPUT", str(tmp_path / "out")) for argument in command)
    done = run(*command, HOME=str(tmp_path), MLFLOW_TRACKING_URI="http://127.0.0.1:1")
    assert done.status == 2
    assert done.errors.startswith(f"error: {message}"), done.errors


@pytest.mark.parametrize("command", [("search.py",), ("distill.py", "--workers", "2")])
def test_a_ray_address_at_which_nobody_answers_is_told_at_once(run: Run, tmp_path: Path, command: tuple[str]) -> None:
    script, *options = command
    done = run(script, SMOKE, *options, "--home", str(tmp_path), RAY_ADDRESS="127.0.0.1:1")
    assert done.status == 2
    assert "error: ray: no cluster answers at '127.0.0.1:1'" in done.errors
    assert "RAY_AUTH_MODE" in done.errors
    assert done.seconds < 15


@pytest.mark.ray
@pytest.mark.slow
def test_more_workers_than_the_cluster_has_are_refused_before_the_teacher_is_trained(run: Run, tmp_path: Path) -> None:
    workers = (os.cpu_count() or 1) * 4
    batch = ["--set", f"distillation.batch_size={workers * 2}", "--set", f"synthesis.batch_size={workers * 40}"]
    bank = ["--set", f"synthesis.bank_capacity={workers * 40}"]
    done = run("search.py", SMOKE, "--home", str(tmp_path), "--set", f"workers={workers}", *batch, *bank)
    assert done.status == 2
    assert f"error: workers: {workers} needed, each with a CPU; the cluster can give {os.cpu_count()}" in done.errors
    assert not done.said("teacher:")
    assert not (tmp_path / "searches").exists()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("device=cuda", r"workers: 1 needed, each with a GPU, which `device: cuda` asks for; the cluster can give 0"),
        (
            "teacher={weights: FILE, mean: [0.3], std: [0.4]}",
            r"teacher: class 0 is 'a' to the teacher and 'zero' in the data",
        ),
        (
            "dataset={name: image_folder, path: IMAGES, image_size: 8, channels: 1}",
            r"images/train/b/3.png: the image does not decode",
        ),
    ],
    ids=["a GPU that is not there", "a teacher of other classes", "an image that does not decode"],
)
def test_what_only_ray_or_the_data_can_tell_is_told_before_any_trial(
    run: Run, tmp_path: Path, override: str, message: str
) -> None:
    from safetensors.torch import save_file

    from dfkd.models import build_model

    state = build_model("digits_teacher", num_classes=10, in_channels=1).state_dict()
    described = {"architecture": "digits_teacher", "class_names": json.dumps(list("abcdefghij"))}
    save_file(state, tmp_path / "other.safetensors", metadata=described)
    for split, name, number in itertools.product(("train", "test"), "ab", range(5)):
        file = tmp_path / "images" / split / name / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(file)
    (broken := tmp_path / "images" / "train" / "b" / "3.png").write_bytes(broken.read_bytes()[:40])
    override = override.replace("FILE", str(tmp_path / "other.safetensors")).replace("IMAGES", str(tmp_path / "images"))
    done = run("search.py", SMOKE, "--home", str(tmp_path / "home"), "--set", override)
    assert done.status == 2
    assert re.search("error: .*" + message, done.errors), done.errors
    assert not list((tmp_path / "home" / "searches").glob("*/trial_records/*"))


def test_files_that_are_damaged_or_not_there_are_told_before_any_trial(
    run: Run, run_in_turn: Callable[..., list[Any]], tmp_path: Path
) -> None:
    """A truncated file, another network's weights, images that are not there: within seconds, and without a store."""
    from safetensors.torch import save_file

    from dfkd.models import build_model

    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    save_file(build_model("digits_student", num_classes=10, in_channels=1).state_dict(), whole)
    cut.write_bytes(whole.read_bytes()[:-100])
    export, foreign = tmp_path / "cut.pt2", tmp_path / "foreign"
    export.write_bytes(b"PK not an archive")
    foreign.mkdir()
    (foreign / "MLmodel").write_text("flavors: {pytorch: {}}")
    plain, occupied = tmp_path / "plain.safetensors", tmp_path / "occupied"
    lenet = build_model("lenet5", num_classes=10, in_channels=1)
    save_file(lenet.state_dict(), plain, metadata={"architecture": "lenet5"})
    occupied.write_text("a file where the folder of checkpoints would be")
    mistakes = {
        r"batch_norm: is 10, but the teacher of '.*plain.safetensors' has no BatchNorm layer": [
            "--set",
            f"teacher={{architecture: lenet5, weights: {plain}}}",
        ],
        r"--storage: expected a folder or URI.*occupied": ["--storage", str(occupied / "checkpoints")],
        r"cut.pt2": ["--set", f"teacher.weights={export}"],
        r"foreign is an MLflow model.*trust_pickle": ["--set", f"teacher.weights={foreign}"],
        r"models:/nobody@champion: no model is registered in .*, which is new": [
            "--set",
            "teacher.weights=models:/nobody@champion",
        ],
        r"label_embeddings.*(not installed|/nowhere does not exist)": [
            "--set",
            "label_embeddings={name: sentence_transformers, model: /nowhere}",
        ],
        r"whole.safetensors.*digits_teacher": ["--set", f"teacher.weights={whole}"],
        r"dataset.path: /nowhere does not exist": ["--set", "dataset={name: parquet, path: /nowhere}"],
    }
    start = ["search.py", SMOKE, "--home", str(tmp_path / "home")]
    for message, done in zip(mistakes, run_in_turn([[*start, *each] for each in mistakes.values()]), strict=True):
        assert done.status == 2
        assert done.errors.startswith("error: ") and re.search(message, done.errors), done.errors
        assert done.processor_seconds < 5  # torch and the rest are loaded already
    done = run(*start, "--set", f"teacher.weights={cut}")
    assert done.status == 2
    assert done.errors.startswith("error: ") and "cut.safetensors" in done.errors
    assert done.processor_seconds < 15
    assert not (tmp_path / "home" / "mlflow.db").exists()

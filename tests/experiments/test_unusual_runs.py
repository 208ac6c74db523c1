"""Whole commands on what is less common: no real image at all, a few without labels, two workers without a search."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfkd.tracking.connection import import_mlflow

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SMOKE = "search_spaces/smoke.yaml"
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def teacher(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    file = folder / "teacher.safetensors"
    done = run("train_teacher.py", SMOKE, "--home", str(folder / "home"), "--save", str(file))
    assert done.status == 0, done.errors
    return file


def test_a_search_without_any_real_image_registers_its_student(run: Run, tmp_path: Path, teacher: Path) -> None:
    nothing = f"dataset={{name: none, image_size: 8, channels: 1, class_names: [{', '.join(DIGITS)}]}}"
    home, outcome = tmp_path / "home", tmp_path / "outcome.json"
    options = ["--set", nothing, "--set", f"teacher.weights={teacher}", "--home", str(home), "--json", str(outcome)]
    done = run("search.py", SMOKE, *options, timeout=600)
    assert done.status == 0, done.output + done.errors
    assert "accuracy unknown: no test images" in done.output
    facts = json.loads(outcome.read_text())
    assert facts["model_uri"] == "models:/smoke/1" and facts["test"] == {}
    client = import_mlflow().MlflowClient(f"sqlite:///{home}/mlflow.db")
    aliases = client.get_registered_model("smoke").aliases
    assert {alias: int(version) for alias, version in aliases.items()} == {"candidate": 1, "champion": 1}


@pytest.mark.parametrize("metric", ["kl", "agreement_real"])
def test_a_search_by_another_objective_ends_with_its_student(
    run: Run, tmp_path: Path, teacher: Path, metric: str
) -> None:
    text = (Path(__file__).parents[2] / SMOKE).read_text()
    space, outcome = tmp_path / "space.yaml", tmp_path / "outcome.json"
    space.write_text(text.replace("metric: agreement", f"metric: {metric}") + "workers_check: false\n")
    options = ["--set", f"teacher.weights={teacher}", "--home", str(tmp_path / "home"), "--json", str(outcome)]
    done = run("search.py", str(space), *options, timeout=600)
    assert done.status == 0, done.output + done.errors
    facts = json.loads(outcome.read_text())
    key = {"kl": "probe/kl", "agreement_real": "val/agreement/top1"}[metric]
    values = [trial["metrics"][key] for trial in facts["trials"]]
    best = min(values) if metric == "kl" else max(values)
    tied = abs(facts["chosen"]["metrics"][key] - best) <= facts["tie_margin"]["value"] and facts["chosen"]["is_default"]
    assert facts["chosen"]["metrics"][key] == best or tied


def test_two_workers_without_a_search_give_scores_and_a_tracked_run(run: Run, tmp_path: Path, teacher: Path) -> None:
    home, result = tmp_path / "home", tmp_path / "result.json"
    options = ["--set", f"teacher.weights={teacher}", "--home", str(home), "--json", str(result), "--workers", "2"]
    done = run("distill.py", SMOKE, *options, timeout=600)
    assert done.status == 0, done.output + done.errors
    assert done.said("epoch 1/3:") and "left" in done.said("epoch 1/3:")[0]
    facts = json.loads(result.read_text())
    assert [point["epoch"] for point in facts["curve"]] == [0, 1, 2]
    assert "2 worker(s)" in done.output and 0 <= facts["test"]["accuracy/top1"] <= 1
    client = import_mlflow().MlflowClient(f"sqlite:///{home}/mlflow.db")
    (finished,) = client.search_runs([client.get_experiment_by_name("distillations").experiment_id])
    assert finished.info.status == "FINISHED"

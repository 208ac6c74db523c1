"""Whole commands on what is less common: no real image at all, a few without labels, two workers without a search."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

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


def test_the_page_on_an_own_teacher_ends_with_a_student(run: Run, tmp_path: Path) -> None:
    """The tutorial's file with a short schedule; its teacher is a ``state_dict`` that is not trained at all."""
    import torch

    from dfkd.models import build_model

    page = (Path(__file__).parents[2] / "docs" / "tutorials" / "own-teacher.md").read_text()
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    weights = tmp_path / "teacher.pt"
    torch.save(build_model("resnet20", num_classes=3, in_channels=3).state_dict(), weights)
    (tmp_path / "my_student.yaml").write_text(block.replace("teacher.pt", str(weights)) + "workers_check: false\n")
    short = "synthesis={batch_size: 20, generator_steps: 1, warm_up_epochs: 1, warm_up_rounds: 1, rounds_per_epoch: 1}"
    learns = "distillation={epochs: 1, steps_per_epoch: 2, batch_size: 16}"
    options = ["--set", short, "--set", learns, "--trials", "2", "--home", str(tmp_path / "home")]
    done = run("search.py", str(tmp_path / "my_student.yaml"), *options, timeout=600)
    assert done.status == 0, done.output + done.errors
    assert "models:/my-student/1 (champion)" in done.output


def test_class_names_of_any_script_and_a_home_with_spaces_reach_the_last_page(run: Run, tmp_path: Path) -> None:
    """Folders of images whose names have a space, or no Latin letter: search, card, pictures, evaluation, report."""
    import numpy
    from PIL import Image

    random, folder, home = numpy.random.default_rng(0), tmp_path / "my images", tmp_path / "my home"
    names = ("sea eel", "γάτα", "犬")  # in the order of their code points
    for split, count in (("train", 12), ("validation", 6), ("test", 6)):
        for level, name in enumerate(names):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(60 * level, 60 * level + 80, (8, 8), dtype=numpy.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    dataset = f"dataset={{name: image_folder, path: {json.dumps(str(folder))}, image_size: 8, channels: 1}}"
    orthogonal = ["--set", dataset, "--set", "label_embeddings={name: orthogonal}"]
    done = run("search.py", SMOKE, *orthogonal, "--home", str(home), timeout=600)
    assert done.status == 0, done.output + done.errors
    student = "models:/smoke@champion"
    judged = run("evaluate.py", student, SMOKE, *orthogonal, "--home", str(home), timeout=300)
    assert judged.status == 0, judged.output + judged.errors
    report = tmp_path / "my report.html"
    told = run("report.py", "smoke", "--home", str(home), "--output", str(report), timeout=300)
    assert told.status == 0 and report.stat().st_size > 10_000, told.errors
    registered = [safe_open(file, "pt").metadata()["class_names"] for file in home.rglob("model.safetensors")]
    assert tuple(names) in [tuple(json.loads(each)) for each in registered]

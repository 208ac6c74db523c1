"""The command from a file to a leaderboard: tuned, stopped halfway, gone on with, and refused what it cannot do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dfkd.tracking.connection import import_mlflow

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "benchmarks" / "comparisons" / "smoke.yaml"
FIVE_SHOT = "{task: few_shot, shots: [5], draws: 2, classes: [0, 4], dataset: {name: digits, title: digits}}"
Run = Callable[..., Any]


def written(folder: Path, **changes: str) -> str:
    """Write the smoke comparison with other lines at the top level."""
    text = SMOKE.read_text()
    for name, value in changes.items():
        text, count = re.subn(rf"^{name}:.*$", f"{name}: {value}", text, flags=re.MULTILINE)
        assert count == 1, name
    file = folder / "comparison.yaml"
    file.write_text(text)
    return str(file)


def runs_of(home: Path) -> list[Any]:
    client = import_mlflow().MlflowClient(f"sqlite:///{home}/mlflow.db")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(ids))


@pytest.mark.ray
@pytest.mark.slow
def test_a_comparison_from_the_file_to_the_leaderboard_over_an_interruption(
    run: Run, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    file = written(tmp_path, budget="{macs: 1.0e+10}", fractions="[1.0]", seeds="[0]")
    home, results = tmp_path / "home", tmp_path / "results"
    places = ("--home", str(home), "--results", str(results), "--columns", "preset", "--at-once", "1")
    with start("compare.py", file, *places) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if re.search(r"1/4 .*left", line):
                break
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on with the others" in errors
    ended = {path: path.read_text() for path in (results / "runs").iterdir()}
    assert len(ended) == 1

    done = run("compare.py", file, *places)
    assert done.status == 0, done.errors
    assert done.said("3 runs to do, 1 at once; 1 are done")
    assert all(path.read_text() == text for path, text in ended.items())

    table = (results / "leaderboard.md").read_text()
    assert "CAE-DFKD (our reading) | preset | text | 1 |" in table
    assert "KD on random noise | preset | none | 1 |" in table
    assert "random initialisation | preset | no teacher | 1 |" in table
    assert "Transfer, `ten_shot`: few shot, 10_shot, on digits, classes 6 to 10, validation split." in table
    assert "`similar`: representation, cka, on the test split.\n" in table
    assert re.search(r"`sure`: calibration, ece, on the test split; less is better. Teacher: 0.\d+ \(mean\).", table)
    rows = pq.read_table(results / "leaderboard.parquet").to_pylist()
    assert [(row["row"], row["n"], row["pairs"]) for row in rows] == [
        ("cae", 1, None),
        ("random_noise", 1, 1),
        ("untrained", 1, 1),
        ("from_labels", 1, 1),
    ]
    by_row = {row["row"]: row for row in rows}
    assert all(0.2 < row["transfer/ten_shot"] < 1 for row in rows)  # of ten classes
    assert by_row["from_labels"]["score"] > 0.2 > by_row["untrained"]["score"]
    assert (results / "plots" / "score_against_budget.html").stat().st_size > 1_000_000
    for path in (results / "runs").iterdir():
        result = json.loads(path.read_text())
        assert result["status"] == "complete" and 0 < result["transfer"]["ten_shot"] < 1
        assert 0 < result["transfer"]["similar"] < 1 and set(result["teacher_transfer"]) == {"sure"}
        if result["run"]["row"] in ("untrained", "from_labels"):
            assert not result["macs"] and not result["curve"]
            continue
        assert 0.7e10 < result["macs"]["total"] <= 1e10
        assert result["test"]["accuracy/top1"] == pytest.approx(result["curve"]["test"][-1], abs=1e-5)
        assert result["best_epoch"]["score"] == max(result["curve"]["test"])

    runs = runs_of(home)
    (parent,) = [found for found in runs if found.data.tags.get("dfkd.kind") == "comparison"]
    children = [found for found in runs if found.data.tags.get("dfkd.kind") == "comparison run"]
    assert parent.info.status == "FINISHED" and len(children) == 4
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert "KD on random noise" in parent.data.tags["mlflow.note.content"]
    client = import_mlflow().MlflowClient(f"sqlite:///{home}/mlflow.db")
    tracked = {found.path for found in client.list_artifacts(parent.info.run_id)}
    assert {"leaderboard.md", "leaderboard.parquet", "plots", "samples.png"} <= tracked
    (plot,) = client.list_artifacts(parent.info.run_id, "plots")
    assert plot.path == "plots/score_against_budget.html"

    report = tmp_path / "report.html"
    told = run("report.py", parent.info.run_id, "--home", str(home), "--output", str(report))
    assert told.status == 0, told.errors
    page = report.read_text()
    assert "of these before the student learns" in page  # a table that the description leaves out
    assert "<figcaption>score by budget</figcaption>" in page and "<figcaption>all methods</figcaption>" in page
    assert (tmp_path / "report-figures" / "score_by_budget.svg").exists()

    again = run("compare.py", file, *places, "--set", "experiment.dataset.crop_padding=2")
    assert again.status == 2 and "results of two are not mixed" in again.errors


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("judged", ["", f", transfer: {{by: {FIVE_SHOT}}}"], ids=["by labels", "by transfer"])
def test_tuned_values_are_searched_and_then_compared(run: Run, tmp_path: Path, judged: str) -> None:
    tuning = f"{{trials: 2, teacher: 1, seeds: [10]{judged}}}"
    file = written(tmp_path, budget="{macs: 1.0e+10}", fractions="[1.0]", seeds="[0]", tuning=tuning)
    places = ("--home", str(tmp_path / "home"), "--results", str(tmp_path / "results"))
    tuned = run("compare.py", file, *places, "--tune")
    assert tuned.status == 0, tuned.errors
    found = json.loads((tmp_path / "results" / "tuned.json").read_text())["cae"]
    assert found["objective"] == ("few_shot 5_shot" if judged else "val_accuracy")
    assert len(found["trials"]) == 2 and found["teacher"] == 1 and found["seeds"] == [10]
    best = max(found["trials"], key=lambda trial: trial["value"])
    assert found["params"] == best["params"]
    assert found["trials"][0]["params"] == {"distillation.learning_rate": 0.1}
    done = run("compare.py", file, *places)
    assert done.status == 0, done.errors
    result = json.loads((tmp_path / "results" / "runs" / "cae.tuned.x1.t0.s0.json").read_text())
    rate = result["settings"]["distillation"]["learning_rate"]
    assert rate == found["params"]["distillation.learning_rate"]


REFUSED = {
    "a budget of zero": (("budget.macs=0",), "budget.macs: .*above 0"),
    "seeds with doubles": (("seeds=[1, 1]",), "seeds: 1 stands twice; keep one"),
    "a setting of another method": (
        ("methods.random_noise.settings.synthesis.generator_steps=3",),
        "methods.random_noise: synthesis.generator_steps",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
@pytest.mark.parametrize("only", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_what_cannot_be_compared_is_told_at_once(run: Run, tmp_path: Path, mistake: str, only: tuple[str, ...]) -> None:
    overrides, message = REFUSED[mistake]
    sets = [part for override in overrides for part in ("--set", override)]
    places = ("--home", str(tmp_path / "h"), "--results", str(tmp_path / "r"))
    done = run("compare.py", str(SMOKE), *sets, *places, *only)
    assert done.status == 2 and re.search(message, done.errors), done.errors
    assert "Traceback" not in done.errors and not list(tmp_path.iterdir())

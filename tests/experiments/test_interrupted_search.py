"""A search that ends before its time, and goes on with ``--resume``: nothing is lost, nothing stays open."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from dfkd.tracking.connection import import_mlflow

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
Run = Callable[..., Any]


@pytest.fixture
def space(tmp_path: Path) -> str:
    """Four trials of a few seconds each, one worker each."""
    text = (ROOT / "search_spaces" / "smoke.yaml").read_text()
    text = text.replace("epochs: 2, steps_per_epoch: 3", "epochs: 12, steps_per_epoch: 60")
    text = text.replace("trials: 2", "trials: 4\nworkers_check: false\nconcurrency: 1")
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return str(file)


def runs(home: Path) -> list[Any]:
    client = import_mlflow().MlflowClient(f"sqlite:///{home}/mlflow.db")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(ids, order_by=["start_time ASC"]))


def read_until(process: subprocess.Popen[str], pattern: str) -> list[str]:
    """Return the lines up to the first that matches."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.search(pattern, line):
            return lines
    raise AssertionError("".join(lines))


def left_behind(folder: str) -> list[str]:
    """Return the command lines of processes that still belong to a Ray of this folder."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if folder in line and " ps -eo" not in line]


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)],
    ids=["killed", "interrupted", "terminated"],
)
def test_a_search_goes_on_where_it_was_stopped(
    run: Run,
    start: Callable[..., subprocess.Popen[str]],
    surroundings: dict[str, str],
    space: str,
    tmp_path: Path,
    number: signal.Signals,
    status: int,
) -> None:
    home = tmp_path / "home"
    with start("search.py", space, "--home", str(home)) as process:
        read_until(process, r"trial 2/4 complete")
        read_until(process, r"trial 3/4 epoch")
        began = time.monotonic()
        os.kill(process.pid, number)
        _, errors = process.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert process.returncode == status
    said = r"interrupted: everything reported so far is kept; go on from here with\n  python \S+search.py .*--resume\n"
    assert re.fullmatch("" if number == signal.SIGKILL else said, errors), errors
    deadline = time.monotonic() + 20
    while left_behind(surroundings["RAY_TMPDIR"]) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left_behind(surroundings["RAY_TMPDIR"]) == []

    before = {each.info.run_id: each for each in runs(home)}
    open_runs = [each for each in before.values() if each.info.status == "RUNNING"]
    assert len(open_runs) == (2 if number == signal.SIGKILL else 0)  # the search and its third trial
    done = run("search.py", space, "--home", str(home), "--resume")
    assert done.status == 0, done.errors
    begun = [line.split(": ")[0] for line in done.lines if re.match(r"trial \d/4 (starts|goes on): ", line)]
    assert begun == ["trial 3/4 goes on", "trial 4/4 starts"]
    after = {each.info.run_id: each for each in runs(home)}
    assert {each.info.status for each in after.values()} == {"FINISHED"}
    assert len(after) - len(before) == 1  # the fourth trial: the third went on in its own run
    ended = [each for each in before.values() if each.info.status == "FINISHED"]
    assert len(ended) == 3  # the teacher and two trials
    for each in ended:
        assert after[each.info.run_id].info.end_time == each.info.end_time
    (folder,) = (home / "searches").iterdir()
    study = optuna.load_study(
        study_name=folder.name, storage=optuna.storages.RDBStorage(f"sqlite:///{folder}/optuna.db")
    )
    states = [trial.state.name for trial in study.trials]
    assert sorted(states) == ["COMPLETE"] * 4 + ["FAIL"] * (len(states) - 4)
    third = [each for each in after.values() if each.data.tags.get("dfkd.trial") == "2"][0]
    client = import_mlflow().MlflowClient(f"sqlite:///{home}/mlflow.db")
    steps = [point.step for point in client.get_metric_history(third.info.run_id, "probe/agreement")]
    assert sorted(steps) == list(range(13))  # every epoch once


def test_a_trial_whose_loss_is_not_finite_fails_alone(run: Run, space: str, tmp_path: Path) -> None:
    text = (
        Path(space).read_text().replace("type: log_uniform, low: 0.05, high: 0.4", "type: categorical, choices: RATES")
    )
    text = text.replace("type: categorical, choices: [none, bank]", "type: uniform, low: 0.1, high: 1.0")
    text = text.replace("synthesis.contrast.kind", "synthesis.contrast.weight")
    (tmp_path / "nan.yaml").write_text(text.replace("RATES", "[0.1, 1.0e+30]"))
    done = run("search.py", str(tmp_path / "nan.yaml"), "--home", str(tmp_path / "home"), "--trials", "5")
    assert done.status == 0, done.errors
    failed = done.said(" failed: ")
    assert failed
    for line in failed:
        assert re.match(r"trial \d/5 failed: epoch 1: distillation/\w+ is (nan|inf)\. Lower the learning rate", line)
    assert len(done.said(" complete: ")) == 5 - len(failed)
    assert done.errors == ""
    statuses = [each.info.status for each in runs(tmp_path / "home")]
    assert statuses.count("FAILED") == len(failed)
    assert set(statuses) == {"FINISHED", "FAILED"}

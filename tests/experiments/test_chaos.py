"""A search under random faults ends as an undisturbed one of the same seed does.

``CHAOS_MINUTES`` (30) is about how long the undisturbed search takes, ``CHAOS_SEED`` (0) decides on faults and times.
One trial runs at a time, so that suggestions depend on nothing but the trials before.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest

from dfkd.tracking.connection import import_mlflow

pytestmark = [pytest.mark.ray, pytest.mark.chaos, pytest.mark.timeout(3 * 3600)]

ROOT = Path(__file__).parents[2]
MINUTES, SEED = float(os.environ.get("CHAOS_MINUTES", "30")), int(os.environ.get("CHAOS_SEED", "0"))
SECONDS_A_TRIAL = 15.0  # about, undisturbed
BETWEEN_FAULTS = (20.0, 60.0)  # seconds
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def space(tmp_path: Path) -> Path:
    text = (ROOT / "search_spaces" / "smoke.yaml").read_text()
    text = text.replace("epochs: 2, steps_per_epoch: 3", "epochs: 15, steps_per_epoch: 60")
    trials = max(3, round(60 * MINUTES / SECONDS_A_TRIAL))
    text = text.replace("trials: 2", f"trials: {trials}\nworkers_check: false\nconcurrency: 1\nnoise_floor: false")
    text += "early_stopping: {grace_epochs: 5, reduction_factor: 3}\n"
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return file


@dataclass
class Chaos:
    """Hurts a search that runs, in one way after another."""

    server: Any
    home: Path
    random: random.Random
    done: list[str] = field(default_factory=list)
    server_came_back: float = 0.0

    def hurt(self, search: subprocess.Popen[str]) -> None:
        of_trials = [self.kill_trial, self.freeze_trial, self.damage_checkpoint]
        fault = self.random.choice([*of_trials, self.kill_search, self.interrupt_search, self.stop_server])
        if fault(search):
            self.done.append(fault.__name__)

    def kill_trial(self, search: subprocess.Popen[str]) -> bool:
        return _signal(trial_process(search), signal.SIGKILL)

    def freeze_trial(self, search: subprocess.Popen[str]) -> bool:
        process = trial_process(search)
        if not _signal(process, signal.SIGSTOP):
            return False
        time.sleep(10)
        return _signal(process, signal.SIGCONT)

    def damage_checkpoint(self, search: subprocess.Popen[str]) -> bool:
        """Cut the newest checkpoint in half and kill whoever would overwrite it."""
        files = sorted(self.home.glob("searches/*/**/epoch-*/rank-0.pt"), key=_written)
        if not files:
            return False
        process = trial_process(search)
        _signal(process, signal.SIGSTOP)
        with contextlib.suppress(OSError):  # it was replaced by a newer one just now
            os.truncate(files[-1], files[-1].stat().st_size // 2)
        return _signal(process, signal.SIGKILL)

    def kill_search(self, search: subprocess.Popen[str]) -> bool:
        os.kill(search.pid, signal.SIGKILL)
        return True

    def interrupt_search(self, search: subprocess.Popen[str]) -> bool:
        os.kill(search.pid, signal.SIGINT)
        return True

    def stop_server(self, search: subprocess.Popen[str]) -> bool:
        """Stop the MLflow server for some time."""
        self.server.stop()
        time.sleep(self.random.uniform(5, 40))
        self.server.start()
        self.server_came_back = time.monotonic()
        return True

    def was_away(self, since: float) -> bool:
        """Whether the server was stopped since: a search that begins or registers meanwhile ends with status 2."""
        return self.server_came_back > since


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def trial_process(search: subprocess.Popen[str]) -> int | None:
    """Return the process in which the trial runs, by the name that Ray gives it."""
    try:
        for process in psutil.Process(search.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "ImplicitFunc" in " ".join(process.cmdline()):
                    return int(process.pid)
    except psutil.Error:
        return None
    return None


def _signal(process: int | None, number: signal.Signals) -> bool:
    if process is None:
        return False
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return False
    return True


def search_to_its_end(
    start: Start, space: Path, server: Any, home: Path, result: Path, chaos: Chaos | None = None
) -> int:
    """Run the search, again with ``--resume`` as often as it ends before its time; return how often it was started."""
    options = ["--home", str(home), "--tracking-uri", server.uri, "--json", str(result)]
    for times in range(1, 500):
        resume, began = ["--resume"] if list(home.glob("searches/*")) else [], time.monotonic()
        with start("search.py", str(space), *options, *resume) as search:
            said: list[str] = []
            reader = threading.Thread(target=read, args=(search, said))
            reader.start()
            while chaos is not None and search.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    search.wait(timeout=chaos.random.uniform(*BETWEEN_FAULTS))
                if search.poll() is None:
                    chaos.hurt(search)
            reader.join()
        if search.returncode == 0:
            return times
        if chaos is not None and chaos.was_away(began) and search.returncode == 2:
            assert "MLflow does not answer" in said[1], said[1]
            continue
        assert search.returncode in (-signal.SIGKILL, 130), search.returncode
    raise AssertionError("it never ends")


def read(search: subprocess.Popen[str], said: list[str]) -> None:
    """Take all that a command says until it ends."""
    said.extend(search.communicate())


def outcomes(home: Path) -> dict[tuple[Any, ...], tuple[str, float | None]]:
    """What Optuna was told of every point: COMPLETE or PRUNED, and its last value."""
    (folder,) = (home / "searches").iterdir()
    study = optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder}/optuna.db")
    ended = [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]
    told = {}
    for trial in ended:
        last = trial.intermediate_values[max(trial.intermediate_values)]
        told[tuple(sorted(trial.params.items()))] = (trial.state.name, last)
    assert len(told) == len(ended)  # no point twice
    return told


def test_a_search_under_faults_ends_as_an_undisturbed_one(
    start: Start, surroundings: dict[str, str], space: Path, server: Any, tmp_path: Path
) -> None:
    calm, hurt = tmp_path / "calm", tmp_path / "hurt"
    search_to_its_end(start, space, server, calm, tmp_path / "calm.json")
    chaos = Chaos(server, hurt, random.Random(SEED))
    starts = search_to_its_end(start, space, server, hurt, tmp_path / "hurt.json", chaos)
    print(f"{len(chaos.done)} faults, {starts} starts: {dict(Counter(chaos.done))}")

    assert outcomes(hurt) == outcomes(calm)
    chosen = [json.loads((tmp_path / f"{name}.json").read_text())["chosen"]["params"] for name in ("calm", "hurt")]
    assert chosen[0] == chosen[1]

    client = import_mlflow().MlflowClient(server.uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, max_results=1000)
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        for key in run.data.metrics:
            steps = Counter(point.step for point in client.get_metric_history(run.info.run_id, key))
            assert set(steps.values()) == {1}, (run.info.run_name, key, steps)
    for folder in {file.parent.parent for file in hurt.glob("searches/*/**/epoch-*/committed.json")}:
        assert len(list(folder.glob("epoch-*"))) <= 2
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in listed.splitlines() if surroundings["RAY_TMPDIR"] in line]

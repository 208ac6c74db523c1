"""Commands as a person starts them: processes of their own, with a home, a Ray folder and no addresses of anybody's."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMOKE = "search_spaces/smoke.yaml"


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    status: int
    output: str
    errors: str
    seconds: float
    processor_seconds: float

    @property
    def lines(self) -> list[str]:
        """What it printed, without the time in front."""
        return [line.partition("] ")[2] if line.startswith("[") else line for line in self.output.splitlines()]

    def said(self, words: str) -> list[str]:
        """Return the lines that hold these words."""
        return [line for line in self.lines if words in line]


Run = Callable[..., Finished]


@dataclass
class Server:
    """An MLflow server that can be stopped and started again; without a login, it takes no notice of one.

    Attributes:
        folder: for its log and its files, and for its database if that is SQLite.
        port: of the loopback.
        database: as SQLAlchemy names it; None for SQLite.
    """

    folder: Path
    port: int
    database: str | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        database = self.database or f"sqlite:///{self.folder}/mlflow.db"
        store = ["--backend-store-uri", database, "--artifacts-destination"]
        command = [str(Path(sys.executable).with_name("mlflow")), "server", "--workers", "1"]
        command += ["--port", str(self.port), *store, str(self.folder / "artifacts")]
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 300
        while not self.answers():
            assert time.monotonic() < deadline and self.process.poll() is None, "no MLflow server"
            time.sleep(0.3)

    def answers(self) -> bool:
        try:
            return bool(urllib.request.urlopen(f"{self.uri}/health", timeout=2).status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start a server; ``database`` names another one than SQLite."""
    servers = []

    def start_server(database: str | None = None) -> Server:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = Server(tmp_path_factory.mktemp("server"), port, database)
        servers.append(server)
        server.start()
        return server

    yield start_server
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server]) -> Server:
    return start_server()


@pytest.fixture(scope="session")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of every command here."""
    ray_folder = tempfile.mkdtemp(prefix="dfkd-", dir="/tmp")  # short: Ray's sockets allow 107 characters
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DFKD_", "RAY_", "MLFLOW_", "TUNE_")) and name != "PYTHONPATH"
    }
    environment |= {
        "HOME": str(tmp_path_factory.mktemp("user")),
        "OMP_NUM_THREADS": "1",
        "RAY_TMPDIR": ray_folder,
        "PYTHONUNBUFFERED": "1",
    }
    yield environment
    shutil.rmtree(ray_folder, ignore_errors=True)


@pytest.fixture(scope="session")
def start(surroundings: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    """Start ``python experiments/<command>`` from the project's root, in a process group of its own."""

    def start(*command: str, **environment: str) -> subprocess.Popen[str]:
        options = [argument for argument in command if argument.startswith("-X")]
        script, *arguments = [argument for argument in command if not argument.startswith("-X")]
        return subprocess.Popen(
            [sys.executable, *options, f"experiments/{script}", *arguments],
            cwd=ROOT,
            env=surroundings | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return start


@pytest.fixture(scope="session")
def run(start: Callable[..., subprocess.Popen[str]]) -> Run:
    """Run a command to its end."""

    def run(*command: str, timeout: float = 300, **environment: str) -> Finished:
        before, began = _processor_seconds(), time.monotonic()
        with start(*command, **environment) as process:
            try:
                output, errors = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                output, errors = process.communicate()
                raise AssertionError(f"{command} took longer than {timeout} s:\n{output}\n{errors}") from None
        seconds = time.monotonic() - began
        return Finished(process.returncode, output, errors, seconds, _processor_seconds() - before)

    return run


@pytest.fixture(scope="session")
def run_in_turn(surroundings: dict[str, str]) -> Callable[[list[list[str]]], list[Finished]]:
    """Run commands that end before their work begins one after the other in a single process: see ``in_turn.py``."""

    def run_in_turn(commands: list[list[str]]) -> list[Finished]:
        script = [sys.executable, str(Path(__file__).with_name("in_turn.py"))]
        asked = json.dumps(commands)
        done = subprocess.run(script, cwd=ROOT, env=surroundings, input=asked, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [Finished(seconds=each["processor_seconds"], **each) for each in json.loads(done.stdout)]

    return run_in_turn


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime

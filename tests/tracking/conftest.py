"""A real MLflow server on a free loopback port, and small things that several tests use."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


class Server:
    """An MLflow server that can be killed and started again on the same port and store."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it if it is not running, and wait until it answers."""
        if self._process is None:
            self._launch()
            self._wait()

    def _launch(self) -> None:
        environment = os.environ | {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self._folder}/server.db"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, cwd=self._folder, stdout=log, stderr=log, start_new_session=True
            )

    def _wait(self) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self._folder / "server.log").read_text()[-3000:])

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)  # its own session: the server and its worker, nothing else
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


@pytest.fixture
def running(server: Server) -> Server:
    """The server, running when the test begins."""
    server.start()
    return server


@pytest.fixture(scope="session")
def created_store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home with its SQLite store, as a process of its own created it, and what that process printed."""
    home = tmp_path_factory.mktemp("my home")  # with a space, as homes have
    uri = f"sqlite:///{home}/mlflow.db"
    code = f"from dfkd.tracking.connection import check_reachable; check_reachable({uri!r})"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=home, check=True)
    return home, finished.stdout + finished.stderr


@pytest.fixture
def home(created_store: tuple[Path, str]) -> Path:
    """A home that several tests share: each takes names of its own."""
    return created_store[0]


@pytest.fixture
def uri(home: Path) -> str:
    return f"sqlite:///{home}/mlflow.db"


@pytest.fixture(autouse=True)
def no_tracking_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def client() -> Any:
    """``client(uri)``: MLflow's own client, to look at what arrived."""
    from dfkd.tracking.connection import import_mlflow

    return import_mlflow().MlflowClient


@pytest.fixture
def runs(client: Any) -> Callable[[str, str], dict[str, Any]]:
    """``runs(uri, search_id)``: the runs of a search, by their names."""

    def look(uri: str, search_id: str) -> dict[str, Any]:
        every = client(uri)
        ids = [experiment.experiment_id for experiment in every.search_experiments()]
        found = every.search_runs(ids, f"tags.\"dfkd.search_id\" = '{search_id}'")
        return {run.info.run_name: run for run in found}

    return look


@pytest.fixture(scope="session")
def png() -> bytes:
    from PIL import Image

    picture = io.BytesIO()
    Image.new("L", (40, 20), 128).save(picture, "PNG")
    return picture.getvalue()

"""deploy/mlflow_server.sh: with a stand-in for MLflow that answers at once, and (slow) with MLflow itself."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "mlflow_server.sh"
STAND_IN = """#!{python}
import base64, http.server, os, sys
print(" ".join(sys.argv), file=open("arguments", "a"))
print("\\n".join(f"{{name}}={{value}}" for name, value in os.environ.items()), file=open("environment", "w"))
if "{fails}":
    sys.exit("no such database")
login = "Basic " + base64.b64encode(f"admin:{{os.environ['MLFLOW_AUTH_ADMIN_PASSWORD']}}".encode()).decode()
class Mlflow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        taken = self.path == "/health" or self.headers.get("Authorization") == login
        self.send_response(200 if taken else 401)
        self.end_headers()
http.server.HTTPServer((sys.argv[3], int(sys.argv[5])), Mlflow).serve_forever()
"""


@dataclass
class Place:
    """A home for a server, and how the script is called there."""

    home: Path
    environment: dict[str, str]
    address: str

    def start(self) -> subprocess.CompletedProcess[str]:
        command = [str(SCRIPT), str(self.home / "artifacts")]
        with (self.home / "errors").open("w+") as errors:  # a pipe would stay open as long as the server
            done = subprocess.run(command, env=self.environment, stdout=errors, stderr=errors, timeout=200)
            return subprocess.CompletedProcess(command, done.returncode, "", (self.home / "errors").read_text())

    def read(self, name: str) -> str:
        return (self.home / "mlflow" / name).read_text()

    def client(self) -> dict[str, str]:
        return dict(line.removeprefix("export ").split("=", 1) for line in self.read("client.env").splitlines())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "bin").mkdir()
    path = os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "DFKD"))}
    environment |= {"HOME": str(tmp_path), "DFKD_MLFLOW_PORT": str(port), "PATH": path}
    yield Place(tmp_path, environment, f"http://127.0.0.1:{port}")
    for process in running(tmp_path):
        os.kill(process, signal.SIGTERM)


def running(home: Path) -> list[int]:
    """Processes whose working folder is the server's: the script goes there before it starts it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd") == str(home / "mlflow"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def stand_in(place: Place, *, fails: bool = False) -> None:
    program = place.home / "bin" / "mlflow"
    program.write_text(STAND_IN.format(python=sys.executable, fails="yes" if fails else ""))
    program.chmod(0o755)


def test_it_listens_to_this_machine_alone_and_asks_for_a_login(place: Place) -> None:
    stand_in(place)
    assert place.start().returncode == 0
    arguments = place.read("arguments")
    assert "server --host 127.0.0.1 --port " in arguments and "--app-name basic-auth" in arguments
    assert f"--artifacts-destination {place.home}/artifacts" in arguments
    assert place.client()["MLFLOW_TRACKING_URI"] == place.address


def test_no_secret_is_an_argument_or_readable_by_others(place: Place) -> None:
    stand_in(place)
    place.start()
    password = place.client()["MLFLOW_TRACKING_PASSWORD"]
    environment = dict(line.split("=", 1) for line in place.read("environment").splitlines() if "=" in line)
    assert len(password) >= 32
    assert environment["MLFLOW_AUTH_ADMIN_PASSWORD"] == password
    assert environment["MLFLOW_FLASK_SERVER_SECRET_KEY"] not in ("", password)
    assert environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert environment["MLFLOW_BACKEND_STORE_URI"].startswith("postgresql+psycopg2://")
    assert password not in place.read("arguments")
    folder = place.home / "mlflow"
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_server_that_runs_is_left_alone_and_the_password_stays(place: Place) -> None:
    stand_in(place)
    place.start()
    before = place.client()
    assert place.start().returncode == 0
    assert len(place.read("arguments").splitlines()) == 1
    assert place.client() == before


def test_a_server_that_fails_is_told_with_its_last_words(place: Place) -> None:
    stand_in(place, fails=True)
    done = place.start()
    assert done.returncode == 1
    assert "no such database" in done.stderr and "nothing answers at http://127.0.0.1" in done.stderr


@pytest.mark.parametrize(
    ("api", "seen"), [(200, "got 200 and 200"), (401, "got 401 and 401"), (404, "got 404 and 404")]
)
def test_another_program_on_the_port_is_told_and_nothing_is_started(place: Place, api: int, seen: str) -> None:
    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            self.send_response(200 if self.path == "/health" else api)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    stand_in(place)
    with ThreadingHTTPServer(("127.0.0.1", int(place.address.rpartition(":")[2])), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        done = place.start()
        server.shutdown()
        thread.join()
    assert done.returncode == 1
    assert seen in done.stderr and "Another program holds the port" in done.stderr
    assert not (place.home / "mlflow" / "arguments").exists()


def test_secrets_that_could_not_be_made_are_not_kept(place: Place) -> None:
    stand_in(place)
    python = place.home / "bin" / "python"
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    assert place.start().returncode == 3
    assert not list((place.home / "mlflow").glob("*.env*"))
    python.unlink()
    assert place.start().returncode == 0
    assert len(place.client()["MLFLOW_TRACKING_PASSWORD"]) >= 32


def test_a_start_that_was_cut_off_between_two_secrets_is_made_good(place: Place) -> None:
    stand_in(place)
    (place.home / "mlflow").mkdir(mode=0o700)
    (place.home / "mlflow" / "server.env").write_text("export MLFLOW_FLASK_SERVER_SECRET_KEY=")
    assert place.start().returncode == 0
    environment = dict(line.split("=", 1) for line in place.read("environment").splitlines() if "=" in line)
    assert environment["MLFLOW_FLASK_SERVER_SECRET_KEY"]


@pytest.mark.slow
def test_mlflow_itself_lets_in_who_has_the_password_and_nobody_else(place: Place) -> None:
    place.environment["DFKD_MLFLOW_DATABASE"] = f"sqlite:///{place.home}/mlflow.db"
    done = place.start()
    assert done.returncode == 0, done.stderr
    client = place.client()

    def status(login: str | None) -> int:
        request = urllib.request.Request(f"{place.address}/api/2.0/mlflow/experiments/get?experiment_id=0")
        if login:
            request.add_header("Authorization", f"Basic {b64encode(login.encode()).decode()}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert status(None) == 401
    assert status("admin:password1234") == 401
    assert status(f"{client['MLFLOW_TRACKING_USERNAME']}:{client['MLFLOW_TRACKING_PASSWORD']}") == 200

"""Checkpoints on a real S3 API: moto's server in a process of its own, also behind a way that fails and dawdles."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from pyarrow import fs

from dfkd.cluster.checkpoints import CheckpointStore, remove_folder

ROOT = Path(__file__).parents[2]
BUCKET = "students"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 service with one bucket."""
    pytest.importorskip("moto")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("s3") / "log").open("w")
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not _answers(f"{address}/{BUCKET}", "PUT"):
            assert time.monotonic() < deadline and server.poll() is None, "moto's server did not start"
            time.sleep(0.2)
        yield address
    finally:
        server.kill()
        server.wait()
        log.close()


def _answers(url: str, method: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture
def storage(service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A URI of this test's own in the bucket; the environment says how to get there."""
    for name, value in (CREDENTIALS | {"AWS_ENDPOINT_URL": service}).items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{tmp_path.name}"


def state_of(epoch: int) -> dict[str, Any]:
    return {"run": {"weight": torch.full((3, 3), float(epoch))}, "report": {"epoch": epoch}}


def save(store: CheckpointStore, *epochs: int) -> None:
    for epoch in epochs:
        store.commit(epoch=epoch, digests=[store.write(state_of(epoch), epoch=epoch, rank=0)])


def newest(store: CheckpointStore, warn: Callable[[str], None] = pytest.fail) -> Any:
    state = store.newest(rank=0, world_size=1, warn=warn)
    return None if state is None else state["report"]["epoch"]


def test_checkpoints_are_kept_found_and_removed(storage: str) -> None:
    store = CheckpointStore(f"{storage}/run")
    store.check_writable()
    assert newest(store) is None
    save(store, 1, 2, 3)
    assert newest(CheckpointStore(f"{storage}/run")) == 3
    assert store._epochs() == [2, 3]  # the older one is gone
    store.write(state_of(4), epoch=4, rank=0)  # and no commit: the run died
    assert newest(store) == 3
    store.remove()
    assert newest(store) is None
    save(store, 5)
    remove_folder(f"{storage}/run")
    remove_folder(f"{storage}/never-there")
    assert newest(store) is None


def test_a_damaged_object_is_passed_over(storage: str) -> None:
    store = CheckpointStore(f"{storage}/run")
    save(store, 1, 2)
    filesystem, root = fs.FileSystem.from_uri(f"{storage}/run")
    with filesystem.open_output_stream(f"{root}/epoch-000002/rank-0.pt") as stream:
        stream.write(b"half")
    said: list[str] = []
    assert newest(store, said.append) == 1
    assert len(said) == 1 and "epoch-000002: the checkpoint is damaged; using the one before" in said[0]


def test_a_bucket_that_is_not_there_is_an_error(storage: str) -> None:
    with pytest.raises(OSError):
        CheckpointStore("s3://nobodys-bucket/run").check_writable()


class BadWay(ThreadingHTTPServer):
    """Passes requests on to a service; every third is answered "slow down", every fifth late."""

    def __init__(self, service: str) -> None:
        super().__init__(("127.0.0.1", 0), _PassOn)
        self.service, self.requests, self.refused = service, 0, 0
        self.lock = threading.Lock()


class _PassOn(BaseHTTPRequestHandler):
    server: BadWay
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.lock:
            self.server.requests += 1
            number = self.server.requests
            self.server.refused += number % 3 == 0
        if number % 3 == 0:
            self._send(503, {}, b"<Error><Code>SlowDown</Code></Error>")
            return
        if number % 5 == 0:
            time.sleep(1.0)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        url = f"{self.server.service}{self.path}"
        request = urllib.request.Request(url, data=body or None, headers=headers, method=self.command)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                self._send(answer.status, dict(answer.headers.items()), answer.read())
        except urllib.error.HTTPError as error:
            self._send(error.code, dict(error.headers.items()), error.read())

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("transfer-encoding", "connection"):
                if name.lower() != "content-length" or self.command == "HEAD":
                    self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_refused_and_late_requests_lose_nothing(storage: str, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with BadWay(service) as way:
        thread = threading.Thread(target=way.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{way.server_address[1]}")
            store = CheckpointStore(f"{storage}/run")
            save(store, 1, 2, 3)
            assert newest(store) == 3 and store._epochs() == [2, 3]
        finally:
            way.shutdown()
            thread.join()
    assert way.refused >= 5


@pytest.mark.ray
@pytest.mark.slow
def test_two_workers_keep_their_checkpoints_there(storage: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
    environment |= {"OMP_NUM_THREADS": "1", "RAY_TMPDIR": "/tmp", "PYTHONPATH": str(ROOT / "platform")}
    command = [sys.executable, "experiments/distill.py", "search_spaces/smoke.yaml", "--workers", "2"]
    command += ["--home", str(tmp_path / "home"), "--storage", storage, "--name", "on-s3"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    filesystem, root = fs.FileSystem.from_uri(f"{storage}/on-s3")
    found = {Path(info.path).name for info in filesystem.get_file_info(fs.FileSelector(root, recursive=True))}
    assert {"rank-0.pt", "rank-1.pt", "committed.json"} <= found
    assert not list((tmp_path / "home").glob("distillations/*/epoch-*"))

"""Checkpoints on a real S3 API: moto's server in a process of its own, also one that refuses and dawdles."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


SERVER = """
import sys, time
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
port, bad = int(sys.argv[1]), sys.argv[2:]  # a file that counts refusals: every third request is one, every fifth late
inner, requests = DomainDispatcherApplication(create_backend_app), 0
def service(environ, start_response):
    global requests
    requests += 1
    if bad and requests % 3 == 0:
        print("refused", file=open(bad[0], "a"))
        start_response("503 Slow Down", [("Content-Type", "application/xml")])
        return [b"<Error><Code>SlowDown</Code></Error>"]
    if bad and requests % 5 == 0:
        time.sleep(0.3)
    return inner(environ, start_response)
run_simple("127.0.0.1", port, service, threaded=True)
"""


@contextmanager
def s3_service(folder: Path, *arguments: str) -> Iterator[str]:
    """Give the address of an S3 service with one bucket."""
    pytest.importorskip("moto")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(port), *arguments], stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not _answers(f"{address}/{BUCKET}", "PUT"):
            assert time.monotonic() < deadline and server.poll() is None, (folder / "log").read_text()
            time.sleep(0.2)
        yield address
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_service(tmp_path_factory.mktemp("s3")) as address:
        yield address


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


def test_refused_and_late_requests_lose_nothing(storage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with s3_service(tmp_path, str(tmp_path / "refused")) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        store = CheckpointStore(f"{storage}/run")
        save(store, 1, 2)
        assert newest(store) == 2
    assert len((tmp_path / "refused").read_text().splitlines()) >= 5


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

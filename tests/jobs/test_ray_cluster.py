from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from dfkd.jobs.ray_cluster import ENVIRONMENT, check_address, connected, guard_token

ROOT = Path(__file__).parents[2]


@pytest.fixture
def web_server() -> Iterator[int]:
    """A port at which HTTP/1.1 is spoken, as Ray's dashboard or MLflow do."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:1", "Connection refused"),
        ("http://127.0.0.1:8265", "expected host:port as `ray start --head` prints it, not the dashboard's"),
        ("ray://127.0.0.1:10001", "not the dashboard's or Ray Client's"),
        ("nonsense", "expected host:port"),
    ],
)
def test_an_address_at_which_no_cluster_is_says_why_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, address: str, reason: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConnectionError, match=f"ray: no cluster answers at '{address}' .*{reason}.*Check the address"):
        check_address()


def test_another_server_is_not_taken_for_ray(monkeypatch: pytest.MonkeyPatch, web_server: int) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{web_server}")
    with pytest.raises(ConnectionError, match="something else than Ray answers there"):
        check_address()


def test_nobody_else_may_read_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    guard_token()  # where there is none
    (token := tmp_path / ".ray" / "auth_token").parent.mkdir()
    token.write_text("secret")
    token.chmod(0o644)
    guard_token()
    assert token.stat().st_mode & 0o777 == 0o600


def test_without_a_route_ray_stays_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import ray_constants, services

    def no_route(*_: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", True)  # and back again afterwards
    monkeypatch.setattr("ray.init", lambda **_: services.get_node_ip_address())
    monkeypatch.setattr(socket.socket, "connect", no_route)
    monkeypatch.setattr(services, "node_ip_address_from_perspective", no_route)  # which would warn
    with connected():
        assert services.get_node_ip_address() == "127.0.0.1"


@pytest.mark.parametrize("address", ["", "auto", "local"])
def test_what_ray_finds_itself_is_left_to_it(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    check_address()


@pytest.mark.parametrize(("arguments", "shipped"), [([], False), (["-S"], True)], ids=["installed", "source tree"])
def test_the_package_is_shipped_where_it_is_not_installed(arguments: list[str], shipped: bool) -> None:
    """``-S`` leaves site-packages out, as on a node that has the dependencies alone."""
    code = "import sys; sys.path.insert(0, 'experiments'); from _bootstrap import find_package; find_package(); "
    code += "from dfkd.jobs.ray_cluster import _runtime_env; print(_runtime_env('local'))"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *arguments, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (str(ROOT / "platform" / "dfkd") in done.stdout) is shipped


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        (
            "local",
            OSError("No space left on device"),
            "a cluster could not be started on this machine (OSError: No space",
        ),
        (
            "auto",
            RuntimeError("Version mismatch:\n  Ray: 2.9"),
            "'auto' cannot be joined (RuntimeError: Version mismatch:",
        ),
        ("local", ValueError(""), "(ValueError: no message)"),
    ],
)
def test_what_ray_refuses_is_told_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch, address: str, error: Exception, said: str
) -> None:
    import ray

    def refuse(**options: object) -> None:
        raise error

    monkeypatch.setenv("RAY_ADDRESS", address)
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, os.environ.get(name, ENVIRONMENT[name]))  # put back afterwards
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ConnectionError) as told, connected():
        pass
    assert said in str(told.value) and "no cluster answers" not in str(told.value)


SEES_KEYS = """
import os, sys
from ray import tune
from dfkd.jobs.ray_cluster import connected

def trial(config):
    tune.report({"length": len(os.environ["AWS_SECRET_ACCESS_KEY"])})

with connected():
    (result,) = tune.Tuner(trial, run_config=tune.RunConfig(storage_path=sys.argv[1], verbose=0)).fit()
    assert result.metrics["length"] == 16, result.metrics
"""


@pytest.mark.ray
@pytest.mark.parametrize(("tries", "joined"), [(1, True), (2, False)])
def test_a_cluster_that_is_too_slow_to_start_gets_a_second_try(
    monkeypatch: pytest.MonkeyPatch, tries: int, joined: bool
) -> None:
    import ray

    started: list[str] = []

    def init(address: str, **options: Any) -> None:
        started.append(address)
        if len(started) <= tries:
            raise Exception("The current node timed out during startup. This could happen because ...")  # Ray's own

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, os.environ.get(name, ENVIRONMENT[name]))  # put back afterwards
    monkeypatch.setattr(ray, "init", init)
    with nullcontext() if joined else pytest.raises(ConnectionError, match="timed out during startup"), connected():
        assert joined
    assert started == ["local", "local"]


def test_trials_on_this_machine_have_the_keys_of_the_environment_and_no_log_has_them(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="dfkd-", dir="/tmp") as logs:  # short: Ray's sockets allow 107 characters
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        environment |= {"AWS_SECRET_ACCESS_KEY": "vexillum-and-key", "RAY_TMPDIR": logs}
        command = [sys.executable, "-c", SEES_KEYS, str(tmp_path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        files = [path for path in Path(logs).rglob("*") if path.is_file()]
        assert any(path.name == "runtime_env_agent.log" for path in files)
        assert [path for path in files if b"vexillum" in path.read_bytes()] == []

"""Every port that a head of Ray's listens on, asked by somebody without the cluster's token."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

RAY = Path(sys.executable).with_name("ray")
#: A call of each of Ray's gRPC services (2.60), and a page of each of its HTTP servers.
CALLS = (
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.NodeManagerService/GetSystemConfig",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.RayletDriver/ClusterInfo",
    "/ray.rpc.ReporterService/HealthCheck",
)
PAGES = ("/api/version", "/get_runtime_envs_info")
#: What answers everybody, and what it then says; besides the agent's, on a port of its own, two of the head's do.
PROMETHEUS_PORTS = (44217, 44227)  # autoscaler and dashboard, where no other head of this machine has them
OPEN = "numbers for Prometheus: names of processes and nodes, loads, no data"
REFUSED = ("UNAUTHENTICATED", 401, 403)
#: What a port says to calls and pages of other services.
NOT_ITS_OWN = ("UNIMPLEMENTED", "UNAVAILABLE", 404)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@dataclass(frozen=True)
class Listening:
    """A head of Ray's: where its processes listen, and its token."""

    addresses: set[tuple[str, int]]
    token: str


@pytest.fixture(scope="module")
def listening() -> Iterator[Listening]:
    """A head, once nothing new comes up."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    known |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": (token := secrets.token_hex(32))}
    ports = ("port", "dashboard-port", "ray-client-server-port", "dashboard-agent-listen-port")
    with tempfile.TemporaryDirectory(prefix="dfkd-", dir="/tmp", ignore_cleanup_errors=True) as temporary:
        command = [str(RAY), "start", "--head", "--block", "--num-cpus=1", "--disable-usage-stats"]
        command += [f"--temp-dir={temporary}", *(f"--{name}={free_port()}" for name in ports)]
        head = subprocess.Popen(command, env=known, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            found: set[tuple[str, int]] = set()
            still, deadline = 0, time.monotonic() + 180
            while still < 10:
                assert time.monotonic() < deadline and head.poll() is None
                time.sleep(1)
                now = addresses(head.pid)
                still = still + 1 if now == found and len(now) >= 9 else 0
                found = now
            yield Listening(found, token)
        finally:
            head.terminate()
            try:
                head.wait(timeout=60)
            finally:
                for process in psutil.process_iter(["cmdline"]):
                    if any(temporary in argument for argument in process.info["cmdline"] or ()):
                        process.kill()


def addresses(head: int) -> set[tuple[str, int]]:
    """Return what the processes below ``head`` listen on, as somebody on this machine reaches it."""
    found = set()
    for process in psutil.Process(head).children(recursive=True):
        try:
            connections = process.net_connections(kind="tcp")
        except psutil.Error:
            continue
        for connection in connections:
            if connection.status == psutil.CONN_LISTEN:
                host = connection.laddr.ip.removeprefix("::ffff:")
                found.add(("127.0.0.1" if host in ("::", "0.0.0.0") else host, connection.laddr.port))
    return found


def answers(host: str, port: int, token: str | None) -> set[str | int]:
    """Return what a port says to each call and page that it knows."""
    said: set[str | int] = set()
    headers = {"authorization": f"Bearer {token}"} if token else {}
    for call in CALLS:
        with grpc.insecure_channel(f"{host}:{port}") as channel:
            try:
                channel.unary_unary(call)(b"", timeout=5, metadata=tuple(headers.items()))
                said.add(f"{call} was answered")
            except grpc.RpcError as error:
                said.add(error.code().name)
    for page in PAGES:
        try:
            request = urllib.request.Request(f"http://{host}:{port}{page}", headers=headers)
            with urllib.request.urlopen(request, timeout=5) as answer:
                said.add(OPEN if answer.read(7) == b"# HELP " else f"{page} was answered")
        except urllib.error.HTTPError as error:
            said.add(error.code)
        except (OSError, ValueError, urllib.error.URLError, ConnectionError):
            continue
        except Exception:  # http.client has no common class for what is no HTTP
            continue
    return said


@pytest.mark.parametrize("token", [None, "0" * 64], ids=["no token", "another token"])
def test_every_port_refuses_whoever_has_not_the_token(listening: Listening, token: str | None) -> None:
    """But those with numbers for Prometheus, and gRPC's own health check, which nobody asks here."""
    said = {address: answers(*address, token) - set(NOT_ITS_OWN) for address in listening.addresses}
    not_known = [address for address, answer in said.items() if not answer]
    assert not not_known, f"Ray listens on ports of which this test knows no call: {not_known}"
    of_everybody = [port for (_, port), answer in said.items() if answer == {OPEN}]
    assert len([port for port in of_everybody if port not in PROMETHEUS_PORTS]) == 1, of_everybody
    for address, answer in said.items():
        assert answer == {OPEN} or answer <= set(REFUSED), (address, answer)


def test_whoever_has_it_is_let_in(listening: Listening) -> None:
    """Else the refusals would say nothing of the token."""
    for address in listening.addresses:
        assert not answers(*address, listening.token) & set(REFUSED), address

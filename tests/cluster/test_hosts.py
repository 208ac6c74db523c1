"""A cluster over two hosts with addresses of their own: a run with a worker on each, and one that loses a host.

The hosts are network namespaces of this machine on one bridge, which needs root and iproute2. They share its files, as
hosts share a folder.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
NETWORK = "10.219.7"
EPOCHS = 12
RUN = ["search_spaces/smoke.yaml", "--workers", "2", "--set", f"distillation.epochs={EPOCHS}"]

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@dataclass(frozen=True)
class Host:
    """One namespace: its loopback, and ``eth0`` on the bridge."""

    name: str
    address: str
    switch: str

    def command(self, *arguments: str) -> list[str]:
        """Return what runs a command on this host."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def unplug(self) -> None:
        """Lose every packet from now on; nobody is told."""
        _ip("-n", self.switch, "link", "set", self.name, "down")

    def plug_in(self) -> None:
        """End ``unplug``."""
        _ip("-n", self.switch, "link", "set", self.name, "up")


def why_not() -> str | None:
    """Return why there can be no hosts here, or None."""
    if shutil.which("ip") is None:
        return "needs iproute2"
    made = subprocess.run(["ip", "netns", "add", "dfkd-try"], capture_output=True, text=True)
    if made.returncode:
        return f"needs network namespaces: {made.stderr.strip()}"
    _ip("netns", "delete", "dfkd-try")
    return None


@contextmanager
def hosts(prefix: str, count: int) -> Iterator[list[Host]]:
    """Make hosts, and take them away; names begin with the prefix (8 letters at most)."""
    switch = f"{prefix}-sw"
    made = [Host(f"{prefix}-{number}", f"{NETWORK}.{number}", switch) for number in range(1, count + 1)]
    try:
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for host in made:
            _ip("netns", "add", host.name)
            _ip("-n", switch, "link", "add", host.name, "type", "veth", "peer", "eth0", "netns", host.name)
            _ip("-n", switch, "link", "set", host.name, "master", "bridge", "up")
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
            for interface in ("lo", "eth0"):
                _ip("-n", host.name, "link", "set", interface, "up")
        yield made
    finally:
        for name in (*(host.name for host in made), switch):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@dataclass
class Cluster:
    """Ray and MLflow on the first host, one more Ray node on the second; each gives one CPU."""

    first: Host
    second: Host
    folder: Path
    environment: dict[str, str]
    temporary: str
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{self.first.address}:6379"

    @property
    def mlflow(self) -> str:
        return f"http://{self.first.address}:5000"

    def start(self, host: Host, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{host.name}-{len(self.nodes) + len(self.servers)}.log").open("w") as log:
            return subprocess.Popen(
                host.command(*command), env=self.environment, stdout=log, stderr=log, start_new_session=True, cwd=ROOT
            )

    def start_node(self, host: Host) -> subprocess.Popen[bytes]:
        role = [f"--address={self.address}"]
        if host is self.first:
            role = ["--head", "--port=6379", f"--temp-dir={self.temporary}"]
        options = ["--block", "--num-cpus=1", "--disable-usage-stats", f"--node-ip-address={host.address}"]
        self.nodes.append(self.start(host, str(BIN / "ray"), "start", *role, *options))
        return self.nodes[-1]

    def ask(self, *command: str) -> str:
        """Run a command on the first host and return what it said."""
        done = subprocess.run(
            self.first.command(*command), env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def alive(self) -> int:
        return len(json.loads(self.ask(str(BIN / "ray"), "list", "nodes", "--format=json", "--filter=state=ALIVE")))

    def workers(self) -> list[dict[str, Any]]:
        """Ray Train's worker processes so far, also those that ended."""
        said = self.ask(str(BIN / "ray"), "list", "actors", "--format=json", "--filter=class_name=RayTrainWorker")
        workers: list[dict[str, Any]] = json.loads(said)
        return workers


@pytest.fixture
def cluster(tmp_path: Path, end_ray: Callable[..., None]) -> Iterator[Cluster]:
    why = why_not()
    if why is not None:
        pytest.skip(why)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_", "DFKD_", "TUNE_"))
    }
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "OMP_NUM_THREADS": "1"}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "platform"), "RAY_ADDRESS": ""}
    environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (
        tempfile.TemporaryDirectory(prefix="dfkd-", dir="/tmp", ignore_cleanup_errors=True) as temporary,
        hosts("dfkd", 2) as (first, second),
    ):
        cluster = Cluster(first, second, tmp_path, environment, temporary)
        try:
            store = ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination"]
            server = [str(BIN / "mlflow"), "server", "--host", first.address, *store, f"{tmp_path}/artifacts"]
            cluster.servers.append(cluster.start(first, *server))
            cluster.start_node(first)
            wait_until(lambda: answers(cluster, f"{cluster.mlflow}/health"))
            cluster.start_node(second)
            wait_until(lambda: cluster.alive() == 2)
            yield cluster
        finally:
            end_ray(list(reversed(cluster.nodes)), temporary)
            for server in cluster.servers:
                os.killpg(server.pid, 15)
                server.wait(timeout=30)


def answers(cluster: Cluster, url: str) -> bool:
    script = f"import urllib.request; urllib.request.urlopen({url!r}, timeout=2)"
    command = cluster.first.command(sys.executable, "-c", script)
    return subprocess.run(command, capture_output=True).returncode == 0


def wait_until(true: Callable[[], bool], *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.5)


def distil(cluster: Cluster, name: str) -> subprocess.Popen[bytes]:
    cluster.environment["RAY_ADDRESS"] = cluster.address
    storage = ["--storage", str(cluster.folder / "shared"), "--tracking-uri", cluster.mlflow]
    command = [sys.executable, "experiments/distill.py", *RUN, *storage, "--json", str(cluster.folder / name)]
    return cluster.start(cluster.first, *command)


@cache
def undisturbed() -> list[dict[str, Any]]:
    """The same run on one host: two workers on a cluster of its own."""
    with tempfile.TemporaryDirectory(prefix="dfkd-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
        environment |= {"OMP_NUM_THREADS": "1", "RAY_TMPDIR": folder, "PYTHONPATH": str(ROOT / "platform")}
        command = [sys.executable, "experiments/distill.py", *RUN, "--home", f"{folder}/home"]
        subprocess.run(
            [*command, "--json", f"{folder}/one.json"], env=environment, cwd=ROOT, check=True, capture_output=True
        )
        return curve(Path(folder, "one.json"))


def curve(file: Path) -> list[dict[str, Any]]:
    """What was measured in every epoch, without clocks and what it took of the machine."""
    epochs = json.loads(file.read_text())["curve"]
    return [
        {key: value for key, value in epoch.items() if "seconds" not in key and not key.startswith("system/")}
        for epoch in epochs
    ]


def test_a_run_with_a_worker_on_each_host_gives_the_numbers_of_one_host(cluster: Cluster) -> None:
    run = distil(cluster, "two.json")
    assert run.wait(timeout=300) == 0, log_of(cluster)
    workers = cluster.workers()
    assert len(workers) == 2 and len({worker["node_id"] for worker in workers}) == 2
    assert curve(cluster.folder / "two.json") == undisturbed()


def test_a_host_that_is_cut_off_for_a_minute_costs_time_and_no_number(cluster: Cluster) -> None:
    run = distil(cluster, "cut.json")
    wait_until(lambda: len(list(cluster.folder.glob("shared/**/epoch-0000*"))) >= 2)
    cluster.second.unplug()
    time.sleep(60)
    cluster.second.plug_in()
    node = cluster.nodes[-1]
    node.wait(timeout=180)  # Ray has given it up, and it ends itself; whoever started it starts it again
    cluster.start_node(cluster.second)
    assert run.wait(timeout=400) == 0, log_of(cluster)
    assert len(cluster.workers()) >= 4  # both were started anew
    assert curve(cluster.folder / "cut.json") == undisturbed()


def log_of(cluster: Cluster) -> str:
    return "\n".join(file.read_text()[-3000:] for file in sorted(cluster.folder.glob("*.log")))

"""A spot machine that is taken back: the agent's loop, its script against a real cluster, and a run that is told."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from dfkd.assembly import Materials
from dfkd.cluster.parallel_session import REPORTS_UNDER_WAY
from dfkd.cluster.preemption import drain_nodes, watch
from dfkd.cluster.spot_notice import SpotNotice
from dfkd.settings.experiment import ExperimentSettings

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")
STATES = """
import sys
from ray._raylet import GcsClient
from ray.core.generated.gcs_pb2 import GcsNodeInfo
for node in GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10).values():
    print(node.node_manager_address, GcsNodeInfo.GcsNodeState.Name(node.state))
"""  # in a process of its own: Ray reads RAY_AUTH_MODE once
NODES = """
import ray, sys
ray.init(address=sys.argv[1], logging_level="ERROR")
for node in ray.nodes():
    if node["Alive"]:
        print(node["NodeManagerAddress"], node["NodeID"])
"""
EPOCHS, NEVER = 5_000, 100_000
SOON = SpotNotice(action="terminate", time=datetime(2030, 1, 1, tzinfo=UTC))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def in_turn(*answers: Any) -> Any:
    """A function that gives these answers one after another; it raises those that are errors."""
    left = iter(answers)

    def answer(*_: Any) -> Any:
        value = next(left)
        if isinstance(value, Exception):
            raise value
        return value

    return answer


def test_nothing_is_drained_before_the_notice() -> None:
    drained: list[SpotNotice] = []

    def drain(notice: SpotNotice) -> list[str]:
        drained.append(notice)
        return ["a1"]

    said: list[str] = []
    assert watch(in_turn(None, None, SOON), drain, say=said.append, poll_seconds=0) == ["a1"]
    assert drained == [SOON]
    assert said == ["terminate at 2030-01-01T00:00:00+00:00: drained a1"]


def test_no_error_ends_the_agent_and_each_is_said_once() -> None:
    said: list[str] = []
    look = in_turn(OSError("away"), OSError("away"), None, OSError("away"), ValueError("odd"), SOON, SOON, SOON)
    drain = in_turn(ConnectionError("no head"), ConnectionError("no head"), ["a1", "b2"])
    assert watch(look, drain, say=said.append, poll_seconds=0) == ["a1", "b2"]
    told = [line.partition(" (")[0] for line in said]
    assert told[:4] == ["OSError: away", "OSError: away", "ValueError: odd", "ConnectionError: no head"]
    assert len(told) == 5


def test_a_defect_of_ours_is_not_hidden() -> None:
    with pytest.raises(TypeError):
        watch(in_turn(TypeError("a defect")), in_turn(), say=print, poll_seconds=0)


@pytest.mark.parametrize("address", ["head", "head:port", ":6379"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="expected host:port of Ray's head"):
        drain_nodes(address, machine="127.0.0.1", deadline=SOON.time, reason="")


def test_a_head_that_is_away_is_an_error_at_once() -> None:
    begin = time.monotonic()
    with pytest.raises(OSError, match="refused"):
        drain_nodes(f"127.0.0.1:{free_port()}", machine="127.0.0.1", deadline=SOON.time, reason="")
    assert time.monotonic() - begin < 5


@dataclass
class Cluster:
    """A head and nodes of one CPU each, which call themselves 127.0.0.2 and so on."""

    folder: Path
    environment: dict[str, str]
    temporary: str
    port: int = field(default_factory=free_port)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, *arguments: str) -> None:
        with (self.folder / f"ray-{len(self.started)}.log").open("w") as log:
            command = [str(RAY), "start", "--block", "--num-cpus=1", "--disable-usage-stats", *arguments]
            self.started.append(
                subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)
            )

    def add_node(self) -> str:
        """Start a node and return its address once it has joined."""
        machine = f"127.0.0.{1 + len(self.started)}"
        self.start(f"--address={self.address}", f"--node-ip-address={machine}")
        wait_until(lambda: machine in self.nodes())
        return machine

    def nodes(self) -> dict[str, str]:
        """Return the identifiers of the nodes that are alive, by address."""
        command = [sys.executable, "-c", NODES, self.address]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        return dict(line.split() for line in done.stdout.splitlines())


@pytest.fixture
def cluster(tmp_path: Path, end_ray: Callable[..., None]) -> Iterator[Cluster]:
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    known = {name: value for name, value in os.environ.items() if name not in ("RAY_TMPDIR", "RAY_ADDRESS")}
    known |= token | {"PYTHONPATH": str(ROOT / "platform"), "OMP_NUM_THREADS": "1"}
    known["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] = "0"
    with tempfile.TemporaryDirectory(prefix="dfkd-", dir="/tmp", ignore_cleanup_errors=True) as temporary:
        made = Cluster(tmp_path, known, temporary)
        try:
            ports = [f"--dashboard-port={free_port()}", f"--dashboard-agent-listen-port={free_port()}"]
            ports += [f"--ray-client-server-port={free_port()}"]
            head = ["--head", f"--port={made.port}", f"--temp-dir={temporary}", "--include-dashboard=false"]
            made.start(*head, *ports)
            wait_until(lambda: answers(made.port))
            yield made
        finally:
            end_ray(list(reversed(made.started)), temporary)


def answers(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def wait_until(true: Any, *, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.2)


@pytest.mark.ray
@pytest.mark.slow
def test_a_notice_drains_the_machines_node_and_no_other(cluster: Cluster, metadata: Any, tmp_path: Path) -> None:
    address, environment = cluster.address, cluster.environment
    cluster.add_node()

    def states() -> dict[str, str]:
        """Of each node, by its address."""
        found = subprocess.run(
            [sys.executable, "-c", STATES, address], env=environment, capture_output=True, text=True, check=True
        )
        return dict(line.split() for line in found.stdout.splitlines())

    wait_until(lambda: states().get("127.0.0.2") == "ALIVE")
    script = [sys.executable, str(ROOT / "deploy" / "preemption_agent.py"), "--address", address]
    script += ["--node", "127.0.0.2", "--metadata", metadata.address, "--poll-seconds", "0.2"]
    logs = {"agent": tmp_path / "agent.log", "stranger": tmp_path / "stranger.log"}
    tokens = {"agent": environment["RAY_AUTH_TOKEN"], "stranger": secrets.token_hex(32)}
    running = {}
    for name, log in logs.items():
        with log.open("w") as output:
            env = environment | {"RAY_AUTH_TOKEN": tokens[name]}
            running[name] = subprocess.Popen(script, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: len(metadata.tokens) >= 2 and metadata.reads > 20)  # both look, and nothing is drained
        assert set(states().values()) == {"ALIVE"}
        assert running["agent"].poll() is None
        time_left = datetime.now(UTC) + timedelta(seconds=120)
        metadata.notice = f'{{"action": "terminate", "time": "{time_left.isoformat(timespec="seconds")}"}}'
        assert running["agent"].wait(timeout=30) == 0
        wait_until(lambda: states()["127.0.0.2"] == "DEAD", seconds=30)
        wait_until(lambda: "token is missing or incorrect" in logs["stranger"].read_text(), seconds=30)
        assert running["stranger"].poll() is None
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    assert "terminate at" in logs["agent"].read_text() and "drained" in logs["agent"].read_text()
    assert [state for machine, state in states().items() if machine != "127.0.0.2"] == ["ALIVE"]


@pytest.mark.ray
@pytest.mark.slow
def test_a_run_that_is_told_goes_on_from_the_epoch_of_the_notice(
    cluster: Cluster, tiny_settings: Callable[..., ExperimentSettings], tiny_materials: Materials, tmp_path: Path
) -> None:
    settings = tiny_settings(
        workers=2, distillation={"epochs": EPOCHS, "steps_per_epoch": 60, "checkpoint_every": NEVER}
    )
    torch.save({"settings": settings, "materials": tiny_materials}, tmp_path / "inputs.pt")
    machine = cluster.add_node()
    script = [sys.executable, str(Path(__file__).with_name("preempted_run.py")), cluster.address, str(tmp_path)]
    told = tmp_path / "epochs.txt"

    def epochs() -> list[int]:
        return [int(line) for line in told.read_text().split()] if told.exists() else []

    with (tmp_path / "run.log").open("w") as log:
        run = subprocess.Popen(script, env=cluster.environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: len(epochs()) > 20 or run.poll() is not None, seconds=180)
        cluster.add_node()  # where the run is to go on
        drain = ["drain-node", "--address", cluster.address, "--node-id", cluster.nodes()[machine]]
        drain += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
        before = len(epochs())
        subprocess.run([str(RAY), *drain, "--deadline-remaining-seconds", "20"], env=cluster.environment, check=True)
        wait_until(lambda: told_again(epochs()) or run.poll() is not None, seconds=300)
    finally:
        run.kill()
        run.wait()
    heard = epochs()
    assert told_again(heard), (tmp_path / "run.log").read_text()[-3000:]
    assert set(heard) == set(range(max(heard) + 1))
    assert min(told_again(heard)) > before - REPORTS_UNDER_WAY  # nothing from before the notice is computed anew


def told_again(epochs: list[int]) -> list[int]:
    """Return the epochs that were heard of after a later one."""
    return [number for number, last in zip(epochs[1:], epochs, strict=False) if number <= last]

"""Ray's own autoscaler on one machine, over its fake nodes: they come with the work and go when it is done."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")
HEAD = "ray.head.default"  # what the provider calls the head's kind, whatever the configuration says
NODES, CPUS = 2, 2  # that the cluster may add, and of each

DRIVER = """
import json, time
import ray
from dfkd.cluster.pool import Task, run_tasks
from dfkd.cluster.resources import autoscales, limits, num_nodes

def where(seconds):
    time.sleep(seconds)
    return ray.get_runtime_context().get_node_id()

ray.init(log_to_driver=False, logging_level="ERROR")
found = {"autoscales": autoscales(), "CPU": limits()["CPU"], "nodes before": num_nodes()}
tasks = [Task(name=number, function=where, arguments=(4.0,)) for number in range(6)]
found["ran on"] = {done.name: done.value or done.error for done in run_tasks(tasks, gpu=False, at_once=4)}
deadline = time.monotonic() + 120
while num_nodes() > 1 and time.monotonic() < deadline:
    time.sleep(0.5)
found["nodes after"] = num_nodes()
print("FOUND", json.dumps(found))
"""


@dataclass
class Cluster:
    """A head without a CPU for work, and an autoscaler that may add nodes."""

    environment: dict[str, str]
    log: Path


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def configuration(address: str) -> dict[str, Any]:
    """The provider's class is named from outside: Ray's own name for it needs a file that its wheel (2.60) lacks."""
    provider = {"type": "external", "use_node_id_as_ip": True, "disable_node_updaters": True}
    provider |= {"module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"}
    provider |= {"disable_launch_config_check": True, "launch_multiple": True, "gcs_address": address}
    nothing = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    worker = {"CPU": CPUS, "object_store_memory": 100_000_000}
    return {
        "cluster_name": "fake",
        "max_workers": NODES,
        "idle_timeout_minutes": 0.1,
        "provider": provider | {"head_node_id": FAKE_HEAD_NODE_ID},
        "auth": {},
        "head_node_type": HEAD,
        "available_node_types": {
            HEAD: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "spot": {"resources": worker, "node_config": {}, "max_workers": NODES, "labels": {"market": "spot"}},
        },
        "file_mounts": {},
        "cluster_synced_files": [],
    } | {f"{name}_commands": [] for name in nothing}


@pytest.fixture
def cluster(tmp_path: Path, end_ray: Callable[..., None]) -> Iterator[Cluster]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "platform"), "OMP_NUM_THREADS": "1"}
    special = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_enable_autoscaler_v2": "1"}
    special |= {"RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID}
    special |= {"RAY_NODE_TYPE_NAME": HEAD}  # as `ray up` starts a head
    address = f"127.0.0.1:{(port := free_port())}"
    config = tmp_path / "ray_bootstrap_config.yaml"  # where `ray up` leaves it on the head
    config.write_text(yaml.safe_dump(configuration(address)))
    log = tmp_path / "head.log"
    with tempfile.TemporaryDirectory(prefix="dfkd-", dir="/tmp", ignore_cleanup_errors=True) as temporary:
        command = [str(RAY), "start", "--head", "--block", "--num-cpus=0", f"--port={port}", "--disable-usage-stats"]
        command += [f"--autoscaling-config={config}", f"--temp-dir={temporary}", f"--dashboard-port={free_port()}"]
        command += [f"--dashboard-agent-listen-port={free_port()}", f"--ray-client-server-port={free_port()}"]
        command += ["--include-dashboard=false"]
        with log.open("w") as output:
            head = subprocess.Popen(
                command, env=environment | special, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            deadline = time.monotonic() + 240
            while "Ray runtime started" not in log.read_text():
                assert head.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.5)
            yield Cluster(environment | {"RAY_ADDRESS": address}, log)
        finally:
            end_ray([head], temporary)  # and the fake nodes, which the autoscaler started


def test_nodes_come_with_the_work_and_go_when_it_is_done(cluster: Cluster) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], env=cluster.environment, capture_output=True, text=True, timeout=240
    )
    assert "FOUND " in done.stdout, done.stdout[-2000:] + done.stderr[-3000:]
    found = json.loads(done.stdout.rpartition("FOUND ")[2])
    assert (found["autoscales"], found["nodes before"]) == (True, 1)
    assert found["CPU"] == NODES * CPUS  # known from the configuration, before a single node has come
    ran_on = set(found["ran on"].values())
    assert len(found["ran on"]) == 6 and len(ran_on) == NODES
    assert FAKE_HEAD_NODE_ID not in ran_on
    assert found["nodes after"] == 1

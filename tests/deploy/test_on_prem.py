"""deploy/on-prem.yaml: against Ray's own validation, and nothing in it may need the internet."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands",
    "head_start_ray_commands", "worker_start_ray_commands",
)  # fmt: skip


@pytest.fixture
def written() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "on-prem.yaml").read_text())
    return config


def commands(config: dict[str, Any]) -> list[str]:
    return [command for name in COMMANDS for command in config[name]]


def test_ray_accepts_it_and_takes_every_machine(written: dict[str, Any]) -> None:
    filled_in = prepare_config(copy.deepcopy(written))
    validate_config(filled_in)
    (kind,) = filled_in["available_node_types"].values()
    machines = len(written["provider"]["worker_ips"])
    assert (kind["min_workers"], kind["max_workers"]) == (machines, machines)
    assert kind["resources"] == {}  # each machine's own are counted when Ray starts there
    assert set(commands(filled_in)) == set(commands(written))


def test_nothing_is_fetched_from_the_internet(written: dict[str, Any]) -> None:
    text = "\n".join(commands(written))
    installs = re.findall(r"pip install ([^&\n]+)", text)
    assert len(installs) == 2
    assert [install for install in installs if "--no-index" not in install] == []
    assert "--require-hashes -r deploy/requirements.lock" in installs[0]
    assert re.findall(r"apt|curl|wget|https?:", text) == []
    starts = [command for command in commands(written) if "ray start" in command]
    assert len(starts) == 2
    assert all("--disable-usage-stats" in start for start in starts)


def test_every_node_has_the_token_and_no_open_dashboard(written: dict[str, Any]) -> None:
    starts = [command for command in commands(written) if "ray start" in command]
    (project,) = [there for there, here in written["file_mounts"].items() if here == "."]
    for start in starts:
        assert start.startswith(f"cd {project} && . /home/dfkd/venv/bin/activate && ")
        assert "RAY_AUTH_MODE=token ray start" in start
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert "/home/dfkd/.ray/auth_token" in written["file_mounts"]
    assert "0.0.0.0" not in "\n".join(commands(written))


def test_mlflow_runs_on_the_head_alone_before_ray(written: dict[str, Any]) -> None:
    server, start = written["head_start_ray_commands"][1:]
    assert server.endswith("/home/dfkd/project/deploy/mlflow_server.sh /srv/dfkd/mlflow")
    assert ". /home/dfkd/mlflow/client.env && " in start
    assert " DFKD_STORAGE=/srv/dfkd/checkpoints " in start
    assert "mlflow" not in " ".join(written["worker_start_ray_commands"])
    called = re.findall(r"/home/dfkd/project/(deploy/[\w.]+)", "\n".join(commands(written)))
    assert sorted(called) == ["deploy/mlflow_database.sh", "deploy/mlflow_server.sh"]
    assert all((ROOT / name).is_file() for name in called)

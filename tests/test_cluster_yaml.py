"""cluster.yaml against Ray's own validation, and against what Ray would silently fill in."""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from dfkd.cluster.resources import configured_growth
from dfkd.jobs.surroundings import STORAGE_VARIABLE

ROOT = Path(__file__).parents[1]
COMMANDS = (
    "initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands",
    "head_start_ray_commands", "worker_start_ray_commands",
)  # fmt: skip


@pytest.fixture
def written() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    return config


@pytest.fixture
def filled_in(written: dict[str, Any]) -> dict[str, Any]:
    """As Ray uses it: with its defaults for everything that the file leaves out."""
    config: dict[str, Any] = prepare_config(copy.deepcopy(written))
    return config


def commands(config: dict[str, Any], *names: str) -> list[str]:
    return [command for name in names or COMMANDS for command in config[name]]


def test_ray_accepts_it(filled_in: dict[str, Any]) -> None:
    validate_config(filled_in)


def test_ray_would_refuse_a_misspelt_key(written: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError, match="worker_start_ray_comands"):
        validate_config(prepare_config(written | {"worker_start_ray_comands": []}))


def test_no_default_command_slips_in(written: dict[str, Any], filled_in: dict[str, Any]) -> None:
    ours = set(commands(written, *(name for name in COMMANDS if name in written)))
    assert set(commands(filled_in)) == ours
    assert not [command for command in ours if "dev0" in command or "whl" in command]


def test_nothing_listens_to_the_world(filled_in: dict[str, Any]) -> None:
    assert not [command for command in commands(filled_in) if "0.0.0.0" in command]
    assert any("--dashboard-host=127.0.0.1" in command for command in filled_in["head_start_ray_commands"])
    assert "IpPermissions" not in filled_in["provider"]["security_group"]
    server = (ROOT / "deploy" / "mlflow_server.sh").read_text()
    assert re.findall(r"--host (\S+)", server) == ["127.0.0.1"]
    assert "--app-name basic-auth" in server


def starts(config: dict[str, Any]) -> tuple[str, str]:
    """How Ray is started on the head and on a worker."""
    head, worker = (
        [command for command in config[f"{node}_start_ray_commands"] if "ray start" in command]
        for node in ("head", "worker")
    )
    assert (len(head), len(worker)) == (1, 1)
    return head[0], worker[0]


def test_every_node_starts_in_the_project_with_its_environment_and_the_token(filled_in: dict[str, Any]) -> None:
    (project,) = [there for there, here in filled_in["file_mounts"].items() if here == "."]
    for start in starts(filled_in):
        assert start.startswith(f"cd {project} && . /home/ubuntu/venv/bin/activate && ")
        assert "RAY_AUTH_MODE=token ray start" in start
        assert ";" not in start.replace("|| true; }", ""), "a start that goes on after a `cd` that failed"
    assert "/home/ubuntu/.ray/auth_token" in filled_in["file_mounts"]


def test_every_node_installs_the_locked_versions_and_nothing_else(written: dict[str, Any]) -> None:
    (install,) = [command for command in written["setup_commands"] if "pip install" in command]
    assert re.findall(r"pip install ([^&]+)", install) == [
        "--require-hashes -r deploy/requirements.lock ",
        "--no-deps --no-build-isolation -e .",
    ]
    others = set(COMMANDS) - {"setup_commands"}
    assert [command for name in others for command in written.get(name, []) if "pip" in command.split()] == []
    assert not any(node.get("worker_setup_commands") for node in written["available_node_types"].values())


def test_mlflow_runs_on_the_head_before_ray_which_inherits_its_address(filled_in: dict[str, Any]) -> None:
    database, server = "deploy/mlflow_database.sh", "deploy/mlflow_server.sh s3://"
    setup, start = filled_in["head_setup_commands"], filled_in["head_start_ray_commands"]
    order = [next(i for i, command in enumerate(setup) if name in command) for name in ("postgresql", database)]
    assert order == sorted(order)
    order = [next(i for i, command in enumerate(start) if name in command) for name in (server, "ray start")]
    assert order == sorted(order)
    assert ". /home/ubuntu/mlflow/client.env && " in starts(filled_in)[0]
    assert f" {STORAGE_VARIABLE}=s3://" in starts(filled_in)[0]  # a search needs it where nodes may come
    assert "mlflow" not in " ".join(filled_in["worker_start_ray_commands"])


def test_every_script_that_a_command_calls_is_there_and_can_be_run(filled_in: dict[str, Any]) -> None:
    called = set(re.findall(r"deploy/[\w.]+", "\n".join(commands(filled_in))))
    assert len(called) == 4
    assert [name for name in called if not (ROOT / name).is_file()] == []
    assert [name for name in called if name.endswith(".sh") and not os.access(ROOT / name, os.X_OK)] == []


def test_a_worker_is_watched_once_after_ray_has_started(filled_in: dict[str, Any]) -> None:
    last = filled_in["worker_start_ray_commands"][-1]
    assert "--lock=/home/ubuntu/preemption_agent.lock " in last and "RAY_AUTH_MODE=token" in last
    address = re.search(r"--address=(\S+)", starts(filled_in)[1])
    script = (ROOT / "deploy" / "preemption_agent.py").read_text()
    assert set(re.findall(r"(--[\w-]+)=", last)) <= set(re.findall(r'"(--[\w-]+)"', script))
    assert "flock" not in last  # it would end the new agent, which knows the new head, and leave the old one
    assert address and f"python deploy/preemption_agent.py --address={address[1]} " in last


def test_the_head_stays_and_two_pools_of_spot_workers_come_and_go(filled_in: dict[str, Any]) -> None:
    kinds = filled_in["available_node_types"]
    head = kinds.pop(filled_in["head_node_type"])
    assert "InstanceMarketOptions" not in head["node_config"]
    assert head["max_workers"] == 0
    assert "GPU" not in head["resources"]
    for worker in kinds.values():
        assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert worker["labels"]["market"] == "spot"
        assert worker["min_workers"] == 0 < worker["max_workers"] <= filled_in["max_workers"]
        assert worker["idle_timeout_s"] <= 60 * filled_in["idle_timeout_minutes"]
    small, large = (kinds[name] for name in ("gpu_small", "gpu_large"))
    assert small["resources"]["GPU"] < large["resources"]["GPU"]
    assert small["max_workers"] > large["max_workers"]
    assert small["priority"] > large.get("priority", 0)
    assert sum(worker["max_workers"] for worker in kinds.values()) <= filled_in["max_workers"]


def test_a_search_knows_how_far_the_cluster_can_grow(written: dict[str, Any]) -> None:
    assert configured_growth(written) == {"CPU": 4 + 8 * 4 + 2 * 48, "GPU": 8 * 1 + 2 * 4}


def test_every_machine_hands_its_role_to_its_own_processes_alone(filled_in: dict[str, Any]) -> None:
    for name, kind in filled_in["available_node_types"].items():
        node = kind["node_config"]
        assert node["MetadataOptions"]["HttpTokens"] == "required"
        assert node["IamInstanceProfile"] == {"Name": "dfkd-head" if name == "head" else "dfkd-worker"}
        assert all(disk["Ebs"]["Encrypted"] for disk in node["BlockDeviceMappings"])

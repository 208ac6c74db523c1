"""cluster.yaml against Ray's own validation, and against what Ray would silently fill in."""

from __future__ import annotations

import copy
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

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


def test_every_node_starts_in_the_project_with_its_environment_and_the_token(filled_in: dict[str, Any]) -> None:
    (project,) = [there for there, here in filled_in["file_mounts"].items() if here == "."]
    starts = [
        c for c in commands(filled_in, "head_start_ray_commands", "worker_start_ray_commands") if "ray start" in c
    ]
    assert len(starts) == 2
    for start in starts:
        assert start.startswith(f"cd {project} && . /home/ubuntu/venv/bin/activate")
        assert "RAY_AUTH_MODE=token" in start
    assert "/home/ubuntu/.ray/auth_token" in filled_in["file_mounts"]


def test_the_pinned_ray_is_the_projects(filled_in: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (ours,) = [requirement for requirement in project["dependencies"] if requirement.startswith("ray[")]
    assert set(re.findall(r"'(ray\[[^']*)'", "\n".join(commands(filled_in)))) == {ours}
    assert any(command.endswith("pip install -e .") for command in filled_in["setup_commands"])


def test_every_package_that_is_installed_by_name_is_pinned(filled_in: dict[str, Any]) -> None:
    names = re.findall(r"pip install (\S+)", "\n".join(commands(filled_in)))
    assert [name for name in names if name != "-e" and "==" not in name] == []


def test_the_head_stays_and_spot_workers_come_and_go(filled_in: dict[str, Any]) -> None:
    kinds = filled_in["available_node_types"]
    head = kinds.pop(filled_in["head_node_type"])
    assert "InstanceMarketOptions" not in head["node_config"]
    assert head["max_workers"] == 0
    assert "GPU" not in head["resources"]
    for worker in kinds.values():
        assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert worker["resources"]["GPU"] == 1
        assert worker["min_workers"] == 0 < worker["max_workers"] <= filled_in["max_workers"]

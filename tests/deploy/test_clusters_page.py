"""docs/clusters.md and the files of deploy/: what they name exists, and Ray's own commands have the options given."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clusters.md").read_text()
CONFIGS = [ROOT / "cluster.yaml", *sorted((ROOT / "deploy").rglob("*.yaml"))]


def page_commands() -> list[str]:
    blocks = re.findall(r"^ *```\n(.*?)^ *```", PAGE, re.M | re.S)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return lines + re.findall(r"`(ray [a-z][^`\n]*)`", PAGE)


def ray_commands(text: str) -> list[str]:
    """Calls of `ray` in a line of shell."""
    calls = re.findall(r"(?:^|&& |^export [^;]*; |=\w+ )(ray [a-z][^;&|)]*)", text)
    return [call.strip() for call in calls]


def all_ray_commands() -> list[str]:
    found = [call for line in page_commands() for call in ray_commands(line)]
    for file in CONFIGS:
        commented = re.sub(r"^# +", "", file.read_text(), flags=re.M)
        folded = re.sub(r"\s+", " ", commented.replace("\\\n", " "))
        found += re.findall(r"RAY_AUTH_MODE=token (ray start(?: --[\w-]+(?:=\S+)?)+)", folded)
    return sorted(set(found))


def test_the_page_and_the_files_show_commands() -> None:
    assert len(page_commands()) > 40
    assert len([call for call in all_ray_commands() if call.startswith("ray start")]) >= 4
    assert {"ray up", "ray down", "ray dashboard", "ray exec"} <= {" ".join(c.split()[:2]) for c in all_ray_commands()}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray Serve, which Ray's command line imports
@pytest.mark.parametrize("call", all_ray_commands())
def test_ray_has_the_command_and_its_options(call: str) -> None:
    from ray.scripts.scripts import cli

    _, *words = shlex.split(call.partition(" -- ")[0])
    command: click.Command = cli
    while words and isinstance(command, click.Group):
        name = words.pop(0)
        assert name in command.commands, f"ray has no {name}"
        command = command.commands[name]
    known = {name for parameter in command.params for name in parameter.opts}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert given <= known, f"{call}: no such option: {given - known}"


def test_every_file_of_deploy_that_is_named_exists_and_every_file_there_is_named() -> None:
    files = [file for file in (ROOT / "deploy").rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    texts = [file.read_text() for file in [*files, ROOT / "cluster.yaml"] if file.suffix != ".lock"]
    named = set(re.findall(r"deploy/[\w./-]*\w", "\n".join([PAGE, *texts])))
    assert {name for name in named if not (ROOT / name).exists()} == set()
    there = {file.relative_to(ROOT).as_posix() for file in files}
    assert there - named == {"deploy/Dockerfile.dockerignore"}  # Docker finds it by its name


@pytest.mark.parametrize("script", sorted(set(re.findall(r"python (experiments/\w+\.py)", PAGE))))
def test_our_commands_have_the_options_that_are_shown(script: str) -> None:
    shown = [line for line in page_commands() if script in line]
    options = {word for line in shown for word in shlex.split(line.partition(script)[2]) if word.startswith("--")}
    text = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, cwd=ROOT, check=True)
    assert options and options <= set(re.findall(r"--[a-z-]+", text.stdout))
    spaces = {name for line in shown for name in re.findall(r"search_spaces/\w+\.yaml", line)}
    assert all((ROOT / space).exists() for space in spaces)


def test_what_is_not_run_says_so_at_its_top() -> None:
    stated = [*CONFIGS, ROOT / "deploy" / "Dockerfile", ROOT / "deploy" / "firewall.nft"]
    for file in stated:
        top = re.split(r"^[^#\n]", file.read_text(), maxsplit=1, flags=re.M)[0]
        assert re.search(r"State: .*?\bnot\b", top, re.S), f"{file.name} does not say what was not tried"


def test_the_roles_reach_the_bucket_and_nothing_beside_it() -> None:
    policies = {file.stem: json.loads(file.read_text()) for file in (ROOT / "deploy" / "aws").glob("*.json")}
    assert set(policies) == {"trust", "bucket", "pass_role"}
    for statement in policies["bucket"]["Statement"]:
        assert statement["Resource"].startswith("arn:aws:s3:::your-bucket")
        assert all(action.startswith("s3:") and "*" not in action for action in statement["Action"])
    (passing,) = policies["pass_role"]["Statement"]
    assert passing["Resource"].endswith(":role/dfkd-worker")
    for name in policies:
        assert f"file://deploy/aws/{name}.json" in PAGE


def test_the_secret_of_kubernetes_has_the_keys_that_the_pods_read() -> None:
    manifests = (ROOT / "deploy" / "kuberay" / "cluster.yaml").read_text()
    read = set(re.findall(r"secretKeyRef: \{name: dfkd-mlflow, key: (\w+)\}", manifests))
    assert set(re.findall(r"--from-literal=(\w+)=", PAGE)) == read

"""docs/clusters.md and the files of deploy/: what they name exists, and Ray's own commands have the options given."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

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


UNTRIED = {  # what each file admits at its top, under "State"
    "cluster.yaml": "It has not been run on AWS yet.",
    "deploy/Dockerfile": "it has not been built.",
    "deploy/firewall.nft": "not on machines of their own.",
    "deploy/kuberay/cluster.yaml": "It has not been run on Kubernetes.",
    "deploy/kuberay/job.yaml": "It has not been run on Kubernetes.",
    "deploy/mlflow_database.sh": "with a stand-in for sudo.",
    "deploy/on-prem.yaml": "`ray up` with this file has not been run on several.",
}


def test_every_file_that_was_not_run_where_it_is_for_is_known_here() -> None:
    assert {file.relative_to(ROOT).as_posix() for file in CONFIGS} <= set(UNTRIED)


@pytest.mark.parametrize(("name", "admitted"), UNTRIED.items())
def test_what_is_not_run_says_so_at_its_top(name: str, admitted: str) -> None:
    top = re.split(r"^[^#\n]", (ROOT / name).read_text(), maxsplit=1, flags=re.M)[0]
    state = re.sub(r"\s*\n# ", " ", top.partition("# State: ")[2])
    assert admitted in state


def test_the_page_says_what_nothing_here_has_been_run_on() -> None:
    top = re.sub(r"\s+", " ", PAGE.partition("All three have in common")[0])
    assert "Nothing here has been run on AWS, on Kubernetes, or on several real machines, and the image has not" in top


def policies() -> dict[str, list[dict[str, Any]]]:
    """Statements of each policy, with lists where one value may stand alone."""
    found = {}
    for file in (ROOT / "deploy" / "aws").glob("*.json"):
        found[file.stem] = json.loads(file.read_text())["Statement"]
        for statement in found[file.stem]:
            for key in ("Action", "Resource"):
                if isinstance(statement.get(key), str):
                    statement[key] = [statement[key]]
    return found


def test_the_roles_reach_the_bucket_and_nothing_beside_it() -> None:
    assert set(policies()) == {"trust", "bucket", "worker_bucket", "pass_role"}
    for statement in [*policies()["bucket"], *policies()["worker_bucket"]]:
        assert all(re.match("arn:aws:s3:::your-bucket(/|$)", resource) for resource in statement["Resource"])
        assert all(action.startswith("s3:") and "*" not in action for action in statement["Action"])
    (passing,) = policies()["pass_role"]
    assert [resource.partition(":role/")[2] for resource in passing["Resource"]] == ["dfkd-worker"]
    for name in policies():
        assert f"file://deploy/aws/{name}.json" in PAGE


def test_workers_reach_the_checkpoints_and_not_the_files_of_mlflow() -> None:
    config = (ROOT / "cluster.yaml").read_text()
    (checkpoints,) = re.findall(r"DFKD_STORAGE=s3://(\S+)", config)
    (artifacts,) = re.findall(r"mlflow_server.sh s3://(\S+)", config)
    assert checkpoints == "your-bucket/dfkd" and not artifacts.startswith(checkpoints)
    objects = [one for one in policies()["worker_bucket"] if "s3:PutObject" in one["Action"]]
    assert [one["Resource"] for one in objects] == [[f"arn:aws:s3:::{checkpoints}", f"arn:aws:s3:::{checkpoints}/*"]]
    (listing,) = [one for one in policies()["worker_bucket"] if "s3:ListBucket" in one["Action"]]
    # "IfExists": Arrow asks first whether the bucket exists, and whether an object does, and neither has a prefix.
    assert listing["Condition"] == {"StringLikeIfExists": {"s3:prefix": ["dfkd", "dfkd/*"]}}
    (line,) = [line for line in page_commands() if "worker_bucket.json" in line]
    assert "--role-name dfkd-worker " in line


def test_the_secret_of_kubernetes_has_the_keys_that_the_pods_read() -> None:
    manifests = (ROOT / "deploy" / "kuberay" / "cluster.yaml").read_text()
    read = set(re.findall(r"secretKeyRef: \{name: dfkd-mlflow, key: (\w+)\}", manifests))
    assert set(re.findall(r"--from-literal=(\w+)=", PAGE)) == read

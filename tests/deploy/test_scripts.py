"""The shell scripts of deploy/: each parses, stops at the first error, and says how it is called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[2] / "deploy").glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_parses_can_be_run_and_stops_at_the_first_error(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    assert os.access(script, os.X_OK)
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert next(line for line in lines if not line.startswith("#")) == "set -euo pipefail"


@pytest.mark.parametrize("name", ["mlflow_server.sh", "wheelhouse.sh"])
def test_a_script_without_its_argument_says_what_it_needs(name: str) -> None:
    (script,) = [script for script in SCRIPTS if script.name == name]
    done = subprocess.run([script], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"usage: deploy/{name} " in done.stderr


def test_the_wheelhouse_holds_all_that_is_needed_before_the_project_is_unpacked(tmp_path: Path) -> None:
    """With stand-ins for pip's download and git: the rest is copied."""
    (python := tmp_path / "python").write_text(f'#!/bin/sh\n[ "$1" = -m ] || exec {sys.executable} "$@"\n')
    (git := tmp_path / "git").write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    git.chmod(0o755)
    (script,) = [script for script in SCRIPTS if script.name == "wheelhouse.sh"]
    environment = os.environ | {"PYTHON": str(python), "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([script, tmp_path / "wheelhouse"], env=environment, capture_output=True, check=True)
    assert {file.name for file in (tmp_path / "wheelhouse").iterdir()} == {"requirements.lock", "firewall.nft"}

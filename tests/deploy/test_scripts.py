"""The shell scripts of deploy/: each parses, stops at the first error, and says how it is called."""

from __future__ import annotations

import os
import subprocess
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

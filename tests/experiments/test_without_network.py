"""A search on a machine that nothing can be reached from: a network namespace in which there is loopback alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dfkd.tracking.connection import import_mlflow

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SMOKE = "search_spaces/smoke.yaml"
REACHES_THE_WORLD = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('8.8.8.8', 53))"


@pytest.fixture
def alone() -> list[str]:
    """What stands before a command that shall run without a network; ended with it, nothing is left."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("needs unshare (util-linux) and iproute2")
    command = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    command += ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    made = subprocess.run([*command, "true"], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"needs network namespaces: {made.stderr.strip()}")
    return command


def test_a_search_needs_no_network_and_does_not_mention_it(
    alone: list[str], surroundings: dict[str, str], tmp_path: Path
) -> None:
    reached = subprocess.run([*alone, sys.executable, "-c", REACHES_THE_WORLD], capture_output=True, text=True)
    assert "Network is unreachable" in reached.stderr
    done = subprocess.run(
        [*alone, sys.executable, "experiments/search.py", SMOKE],
        env=surroundings | {"HOME": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "models:/smoke/1 (champion)" in done.stdout and "warning" not in done.stdout.lower()
    client = import_mlflow().MlflowClient(f"sqlite:///{tmp_path}/.dfkd/mlflow.db")
    assert int(client.get_model_version_by_alias("smoke", "champion").version) == 1

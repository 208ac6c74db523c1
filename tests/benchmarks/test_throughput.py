"""The run against its floor, both measured in one process: a guard that does not depend on the machine's speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # it measures time: not beside other tests

ROOT = Path(__file__).parents[2]
SPACE = "search_spaces/cifar10_16px_cae.yaml"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("throughput") / "throughput.json"
    command = [sys.executable, "benchmarks/throughput.py", SPACE, "--no-compile", "--seconds", "8", "--share", "0.1"]
    command += ["--repeats", "1"]
    smaller = ["--set", "synthesis.batch_size=48", "--set", "distillation.batch_size=48"]
    subprocess.run(
        [*command, *smaller, "--json", str(file)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    facts: dict[str, Any] = json.loads(file.read_text())
    return facts


def test_most_of_a_run_is_its_bare_passes(measured: dict[str, Any]) -> None:
    """Generous bounds: what they catch is a step that has become several times slower."""
    for part in ("distillation", "synthesis"):
        assert 0.35 < measured[f"{part}_share_of_floor"] < 2.0


def test_the_parts_add_up_to_the_whole(measured: dict[str, Any]) -> None:
    shares = measured["share_of_time"]
    assert set(shares) >= {"generator", "teacher", "student", "backward", "optimiser", "bank", "losses"}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert all(share >= 0 for share in shares.values())


def test_the_floor_counts_operations_by_hand(measured: dict[str, Any]) -> None:
    """A student step costs a forward pass and twice that backward, but for the gradient of the images themselves."""
    passes, batch = measured["floor"]["passes"], 48
    resnet20, resnet8, first_layer = 10.14e6, 3.06e6, 3 * 16 * 9 * 16**2  # multiply-accumulates of a 16x16 image
    assert passes["teacher"]["gflop"] == pytest.approx(batch * 2 * resnet20 / 1e9, rel=0.01)
    assert passes["student"]["gflop"] == pytest.approx(batch * 2 * (3 * resnet8 - first_layer) / 1e9, rel=0.01)

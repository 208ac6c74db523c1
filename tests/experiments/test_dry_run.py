"""``--dry-run`` as a person gives it: a plan, status 0, and nothing in MLflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SMOKE = "search_spaces/smoke.yaml"
COMPARISON = "benchmarks/comparisons/smoke.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["search.py", "distill.py"])
def test_a_dry_run_prints_its_plan_and_leaves_nothing(run: Callable[..., Any], tmp_path: Path, command: str) -> None:
    home = tmp_path / "a home"
    done = run(command, SMOKE, "--dry-run", "--home", str(home), "--set", "device=cpu")
    assert (done.status, done.errors) == (0, "")
    assert done.said("nothing was started") and done.said("  time       about ")
    assert list(home.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("phase", [("--columns", "preset"), ("--tune",)], ids=["runs", "tuning"])
def test_a_dry_run_of_a_comparison_asks_nobody_and_leaves_nothing(
    run: Callable[..., Any], tmp_path: Path, phase: tuple[str, ...]
) -> None:
    home, results = tmp_path / "a home", tmp_path / "results"
    places = ("--home", str(home), "--results", str(results), "--tracking-uri", "http://127.0.0.1:9")
    done = run("compare.py", COMPARISON, "--dry-run", *phase, *places, "--set", "device=cpu")
    assert (done.status, done.errors) == (0, "")
    assert done.said("nothing was started") and done.said("  schedules  cae.") and done.said("  time       about ")
    assert list(home.iterdir()) == [] and not results.exists()

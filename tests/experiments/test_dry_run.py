"""``--dry-run`` as a person gives it: a plan, status 0, and nothing in MLflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SMOKE = "search_spaces/smoke.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["search.py", "distill.py"])
def test_a_dry_run_prints_its_plan_and_leaves_nothing(run: Callable[..., Any], tmp_path: Path, command: str) -> None:
    home = tmp_path / "a home"
    done = run(command, SMOKE, "--dry-run", "--home", str(home), "--set", "device=cpu")
    assert (done.status, done.errors) == (0, "")
    assert done.said("nothing was started") and done.said("  time       about ")
    assert list(home.iterdir()) == []

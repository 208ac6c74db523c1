from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import dfkd
from dfkd.jobs.environment import versions

PACKAGE = Path(dfkd.__file__).parent


def commit_of_copy(root: Path, source: Path) -> str:
    """Copy the package below ``root/source``, make ``root`` a project of somebody with one commit, and ask."""
    for name in ("__init__.py", "jobs/__init__.py", "jobs/environment.py"):
        (root / source / "dfkd" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE / name, root / source / "dfkd" / name)
    who = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "theirs"]):
        subprocess.run(["git", *command], cwd=root, check=True, capture_output=True)
    code = "from dfkd.jobs.environment import commit; print(commit())"
    environment = os.environ | {"PYTHONPATH": str(root / source), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_that_of_our_own_checkout_never_a_strangers(tmp_path: Path) -> None:
    assert re.fullmatch("[0-9a-f]{40}", commit_of_copy(tmp_path / "ours", Path("platform")))
    assert commit_of_copy(tmp_path / "theirs", Path(".venv/lib/site-packages")) == "unknown"


def test_a_changed_checkout_is_marked(tmp_path: Path) -> None:
    commit_of_copy(tmp_path, Path("platform"))
    (tmp_path / "platform" / "dfkd" / "jobs" / "__init__.py").write_text("changed = 1")
    code = "from dfkd.jobs.environment import commit; print(commit())"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "platform"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"[0-9a-f]{40}\+", done.stdout.strip())


def test_a_result_that_was_measured_is_no_change_of_the_code(tmp_path: Path) -> None:
    result = tmp_path / "benchmarks" / "results" / "seed-0.json"
    result.parent.mkdir(parents=True)
    result.write_text("{}")
    commit_of_copy(tmp_path, Path("platform"))
    result.unlink()  # to be measured anew, as benchmarks/README.md says
    code = "from dfkd.jobs.environment import commit; print(commit())"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "platform"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert re.fullmatch("[0-9a-f]{40}", done.stdout.strip())


def test_versions_name_python_and_torch() -> None:
    assert {"python", "torch"} <= set(versions())

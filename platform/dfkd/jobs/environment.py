"""What a result was made with: commit and versions. The device is reported by the worker that has it."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path

RESULTS = "benchmarks/results"  # changed by measuring, and no part of what is measured
PACKAGES = ("dfkd", "torch", "torchvision", "ray", "optuna", "mlflow", "pyarrow")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a result; absent ones are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Return the commit of the source tree, with ``+`` if it has changes, or ``unknown`` outside its own checkout."""
    package = Path(__file__).resolve().parents[1]
    root = package.parents[1]
    try:
        if Path(_git(package, "rev-parse", "--show-toplevel")).resolve() / "platform" / "dfkd" != package:
            return "unknown"  # installed somewhere inside another project, whose commit says nothing of us
        head = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", f":(exclude){RESULTS}")
        return head + ("+" if changes else "")
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    finished = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=10)
    return finished.stdout.strip()

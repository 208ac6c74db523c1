"""Finds the package when it is not installed: a job whose nodes have only the dependencies ships the source tree."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def find_package() -> None:
    """Put the source root on the path unless ``dfkd`` can be imported already.

    Raises:
        SystemExit: there is no source tree beside this folder; the message says what to do.
    """
    if importlib.util.find_spec("dfkd") is not None:
        return
    source = ROOT / "platform"
    if not (source / "dfkd" / "__init__.py").is_file():
        raise SystemExit(
            f"dfkd is not installed, and there is no source tree at '{source}'. Start the job from the project's root "
            "(`ray job submit --working-dir . -- python experiments/search.py`), or `pip install -e .` on every node."
        )
    sys.path.insert(0, str(source))
    os.environ["DFKD_SHIP_SOURCE"] = "1"  # workers do not find it either: dfkd.jobs.ray_cluster sends it to them

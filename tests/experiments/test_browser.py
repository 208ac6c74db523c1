"""The pages of a search just made, in a real browser: each shows what it should, and its console has no complaint."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")


@pytest.mark.ray
@pytest.mark.browser
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium at /usr/bin/chromium (Debian's package chromium)")
def test_a_search_can_be_read_in_the_ui(run: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="needs pip install -e '.[docs]'")
    home, pictures = tmp_path / "home", tmp_path / "pictures"
    made = run("search.py", str(ROOT / "search_spaces" / "smoke.yaml"), "--home", str(home))
    assert made.status == 0, made.errors
    script = [sys.executable, ROOT / "docs" / "_site" / "screenshots.py", "smoke", "--home", home, "--output", pictures]
    done = subprocess.run(script, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    names = ("runs", "search", "charts", "images", "trial", "model", "version")
    assert {file.name for file in pictures.iterdir()} == {f"mlflow-{name}.png" for name in names}
    assert all(Image.open(file).size == (1280, 800) for file in pictures.iterdir())

"""Every YAML that a page shows can be loaded: whole files as they stand, parts laid over a file that has the rest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dfkd.config.comparison import load_comparison
from dfkd.search.space import load_search_space

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
]
PLACE_HOLDERS = {"<method>": "nayer"}


def rest_of(shown: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return which kind of file a part belongs to, and a small one of that kind."""
    kind = "comparison" if "methods" in shown else "search"
    path = "benchmarks/comparisons/smoke.yaml" if kind == "comparison" else "search_spaces/smoke.yaml"
    rest: dict[str, Any] = yaml.safe_load((ROOT / path).read_text())
    if "methods" in shown:  # rows beside the file's own
        shown["methods"] = rest["methods"] | shown["methods"]
    return kind, rest


@pytest.mark.parametrize("block", BLOCKS)
def test_a_shown_file_can_be_loaded(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place_holder, value in PLACE_HOLDERS.items():
        block = block.replace(place_holder, value)
    shown: dict[str, Any] = yaml.safe_load(block)
    kind, rest = rest_of(shown)
    whole = shown if "experiment" in shown else rest | shown
    (tmp_path / "shown.yaml").write_text(yaml.safe_dump(whole, allow_unicode=True))
    settings = (load_comparison if kind == "comparison" else load_search_space)(tmp_path / "shown.yaml").settings
    for name in shown:
        assert getattr(settings, name) or name == "further_objectives"


def test_there_are_blocks_and_a_wrong_one_would_be_noticed(tmp_path: Path) -> None:
    assert len(BLOCKS) >= 6
    (tmp_path / "wrong.yaml").write_text("name: a\ntracking: {profil: sensitive}\n")
    with pytest.raises(ValueError, match="profile"):
        load_search_space(tmp_path / "wrong.yaml")

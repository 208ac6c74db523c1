"""The documentation as a site: every link holds, and every object that the reference names exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dfkd import PUBLIC

ROOT = Path(__file__).parents[1]


def build(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(folder)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_the_readme_is_the_first_page_and_its_links_to_pages_hold(site: Path) -> None:
    text = (site / "index.html").read_text()
    assert "You have a trained image classifier" in text
    assert 'href="method/"' in text and 'href="findings/"' in text
    assert "digits_cae.yaml (<code>search_spaces/digits_cae.yaml</code>)" in text
    assert not re.search(r'href="[^"]*\.(?:yaml|py)"', text)  # files of the repository are no pages of the site


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("python", "dfkd.interface.distill_student"),
        ("settings", "dfkd.settings.search.SearchSettings"),
        ("method", "dfkd.synthesis.cae.CategoryAware"),
        ("networks", "dfkd.models.protocol.Backbone"),
        ("data", "dfkd.data.real_data.RealData"),
        ("losses", "dfkd.losses.contrastive.cncl_pairs"),
        ("tasks", "dfkd.tasks.further_objectives.further_scores"),
    ],
)
def test_the_reference_is_made_from_docstrings(site: Path, page: str, name: str) -> None:
    assert f'id="{name}"' in (site / "reference" / page / "index.html").read_text()


def test_the_reference_names_everything_that_can_be_imported() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    assert dict(re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|", page, flags=re.MULTILINE)) == PUBLIC


@pytest.mark.parametrize(
    ("target", "ends_well"), [("../search_spaces/smoke.yaml", True), ("../search_spaces/gone.yaml", False)]
)
def test_a_link_to_what_does_not_exist_ends_the_build(tmp_path: Path, target: str, ends_well: bool) -> None:
    pages = tmp_path / "docs"
    pages.mkdir()
    (pages / "page.md").write_text(f"[a space]({target})")
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"site_name: small\nhooks: [{ROOT / 'docs' / '_site' / 'hooks.py'}]\n")
    done = build(config, tmp_path / "site")
    assert (done.returncode == 0) is ends_well, done.stderr
    if ends_well:
        page = (tmp_path / "site" / "page" / "index.html").read_text()
        assert "a space (<code>search_spaces/smoke.yaml</code>)" in page
    else:
        assert "gone.yaml" in done.stderr

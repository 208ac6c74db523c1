"""The locks that clusters and .ci/run install: they fit the project, every line has its hash, no place is named."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
DEPLOY, CI = "deploy/requirements.lock", ".ci/requirements.lock"
EXTRAS = {DEPLOY: ("cluster", "export"), CI: ("dev",)}
ENTRY = re.compile(
    r"^(?P<requirement>[a-z0-9][^\\\n]*?) \\\n(?P<hashes>(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M
)


def locked(lock: str) -> dict[str, set[tuple[str, str]]]:
    """Version or versions of every package, with their hashes: some differ between versions of Python."""
    versions: dict[str, set[tuple[str, str]]] = {}
    for entry in ENTRY.finditer((ROOT / lock).read_text()):
        requirement = Requirement(entry["requirement"])
        (pin,) = requirement.specifier
        assert pin.operator == "==", f"{requirement} is not pinned"
        versions.setdefault(requirement.name, set()).add((pin.version, entry["hashes"].replace(" \\", "")))
    return versions


def wanted() -> list[tuple[str, Requirement]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return [
        (lock, Requirement(line))
        for lock, names in EXTRAS.items()
        for line in project["dependencies"] + [line for name in names for line in extras[name]]
    ]


@pytest.mark.parametrize(("lock", "requirement"), wanted(), ids=str)
def test_what_the_project_needs_is_locked_at_a_version_that_it_takes(lock: str, requirement: Requirement) -> None:
    versions = locked(lock).get(requirement.name.lower())
    assert versions, f"{requirement.name} is not in {lock}: make it anew with the command in its head"
    assert [version for version, _ in versions if version not in requirement.specifier] == []


@pytest.mark.parametrize("lock", EXTRAS)
def test_every_line_is_an_entry_with_hashes_or_a_comment(lock: str) -> None:
    rest = ENTRY.sub("", (ROOT / lock).read_text())
    assert [line for line in rest.splitlines() if not line.lstrip().startswith("#")] == []
    assert len(locked(lock)) > 100


@pytest.mark.parametrize("lock", EXTRAS)
def test_it_names_no_place_to_fetch_from(lock: str) -> None:
    text = (ROOT / lock).read_text().replace(f"-c {DEPLOY}", "")
    assert re.findall(r"://|--index|--find-links|--extra-index|file:| @ |\s/\w+/", text) == []


@pytest.mark.parametrize("lock", EXTRAS)
def test_its_head_says_how_it_is_made(lock: str) -> None:
    command = (ROOT / lock).read_text().splitlines()[1]
    assert "uv pip compile pyproject.toml" in command and "--generate-hashes" in command and "--universal" in command
    assert re.findall(r"--extra (\w+)", command) == list(EXTRAS[lock])


def test_what_is_tested_is_what_clusters_install() -> None:
    ours = locked(CI)
    assert {name: versions for name, versions in locked(DEPLOY).items() if ours.get(name) != versions} == {}


def test_ci_checks_the_hashes_of_its_lock() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert f'lock="{CI}"' in script and '--require-hashes --no-deps --requirement "$lock"' in script

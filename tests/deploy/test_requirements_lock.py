"""The lock that clusters install: it fits the project, every line has its hash, and it names no place to fetch from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "deploy" / "requirements.lock").read_text()
EXTRAS = ("cluster", "export")
ENTRY = re.compile(
    r"^(?P<requirement>[a-z0-9][^\\\n]*?) \\\n(?P<hashes>(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M
)


def locked() -> dict[str, set[str]]:
    """Version or versions of every package: some differ between versions of Python."""
    versions: dict[str, set[str]] = {}
    for entry in ENTRY.finditer(LOCK):
        requirement = Requirement(entry["requirement"])
        (pin,) = requirement.specifier
        assert pin.operator == "==", f"{requirement} is not pinned"
        versions.setdefault(requirement.name, set()).add(pin.version)
    return versions


def wanted() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for extra in EXTRAS for line in project["optional-dependencies"][extra]]
    return [Requirement(line) for line in project["dependencies"] + extras]


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_what_the_project_needs_is_locked_at_a_version_that_it_takes(requirement: Requirement) -> None:
    versions = locked().get(requirement.name.lower())
    assert versions, f"{requirement.name} is not in the lock: make it anew with the command in its head"
    assert [version for version in versions if version not in requirement.specifier] == []


def test_every_line_is_an_entry_with_hashes_or_a_comment() -> None:
    rest = ENTRY.sub("", LOCK)
    assert [line for line in rest.splitlines() if not line.lstrip().startswith("#")] == []
    assert len(locked()) > 100


def test_it_names_no_place_to_fetch_from() -> None:
    assert re.findall(r"://|--index|--find-links|--extra-index|file:| @ |\s/\w+/", LOCK) == []


def test_its_head_says_how_it_is_made() -> None:
    command = LOCK.splitlines()[1]
    assert "uv pip compile pyproject.toml" in command and "--generate-hashes" in command and "--universal" in command
    assert re.findall(r"--extra (\w+)", command) == list(EXTRAS)

"""The page of dependencies against the lock that it lists."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "dependencies.md").read_text()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("licences", ROOT / "deploy" / "licences.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_locked_package_is_listed_with_its_version(script: ModuleType) -> None:
    packages = list(script.locked(script.LOCK.read_text()))
    assert len(packages) > 100 and ("torch", "2.14.1") in packages
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and line != "| package | version | licence |"]
    assert [tuple(cell.strip() for cell in row.split("|")[1:3]) for row in rows] == packages


def test_a_licence_is_what_the_package_states(script: ModuleType) -> None:
    assert script.licence_of("optuna") in ("MIT", "MIT License")
    assert f"| optuna | {dict(script.locked(script.LOCK.read_text()))['optuna']} | MIT License |" in PAGE
    assert script.licence_of("no-such-package") == "not installed here"
    assert script.page().startswith(PAGE[: PAGE.index("| package |")])

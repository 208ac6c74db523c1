"""What the tests of jobs share: a home whose SQLite store takes seconds to create, and a reader who presses Ctrl-C."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database in which nothing is yet, to be copied."""
    from dfkd.tracking.connection import check_reachable
    from dfkd.tracking.home import default_tracking_uri

    folder = tmp_path_factory.mktemp("empty")
    check_reachable(default_tracking_uri(folder))
    return folder / "mlflow.db"


@pytest.fixture(scope="session")
def home(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    shutil.copy(empty_store, home)
    return home


class Interrupts(io.StringIO):
    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words

    def write(self, text: str) -> int:
        if self._words in text:
            raise KeyboardInterrupt
        return super().write(text)


@pytest.fixture
def interrupts() -> Callable[[str], io.StringIO]:
    """Make a console's stream whose reader presses Ctrl-C at these words."""
    return Interrupts

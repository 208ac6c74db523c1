"""Passwords, keys and tokens that a command is given, and everything that it prints and leaves behind."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.ray

SMOKE = "search_spaces/smoke.yaml"
#: What is given, by how; every value holds the mark that is searched for, and none stands anywhere else.
MARK = "vexillum"
IN_ADDRESS = f"{MARK}/in@address"
DATABASE = f"{MARK}-of-a-database"
TOKEN = f"{MARK}0123456789abcdef0123456789abcdef"
ENVIRONMENT = {
    "MLFLOW_TRACKING_USERNAME": f"{MARK}-user",
    "MLFLOW_TRACKING_PASSWORD": f"{MARK}-password",
    "AWS_ACCESS_KEY_ID": f"AKIA{MARK}",
    "AWS_SECRET_ACCESS_KEY": f"{MARK}+secret/key",
    "AWS_SESSION_TOKEN": f"{MARK}-session",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": TOKEN,
    "MLFLOW_FLASK_SERVER_SECRET_KEY": f"{MARK}-flask",
}


def leaks(folder: Path) -> list[Path]:
    """Return the files below a folder that hold the mark, in whatever case."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and MARK.encode() in path.read_bytes().lower()]


@dataclass
class Search:
    """A finished search, its home, and the folder of the MLflow server that it was tracked at."""

    home: Path
    server: Path
    done: Any


@pytest.fixture(scope="module")
def search(run: Callable[..., Any], server: Any, tmp_path_factory: pytest.TempPathFactory) -> Search:
    home = tmp_path_factory.mktemp("secrets") / "home"
    address = server.uri.replace("://", f"://{quote(MARK)}:{quote(IN_ADDRESS, safe='')}@")
    options = ["--home", str(home), "--json", str(home / "outcome.json")]
    done = run("search.py", SMOKE, *options, timeout=900, MLFLOW_TRACKING_URI=address, **ENVIRONMENT)
    assert done.status == 0, done.output + done.errors
    return Search(home, server.folder, done)


@pytest.mark.slow
def test_a_search_prints_and_leaves_no_secret_in_its_home(search: Search) -> None:
    assert MARK not in (search.done.output + search.done.errors).lower()
    assert leaks(search.home) == []


@pytest.mark.slow
def test_a_search_leaves_no_secret_in_mlflow(search: Search) -> None:
    """Neither among parameters, tags and descriptions, all of which lie in the database, nor in any artifact."""
    assert (search.server / "mlflow.db").stat().st_size > 0 and list(search.server.glob("artifacts/**/card.md"))
    assert leaks(search.server) == []


@pytest.mark.slow
def test_ray_writes_no_secret_into_its_logs(search: Search, surroundings: dict[str, str]) -> None:
    logs = Path(surroundings["RAY_TMPDIR"])
    assert list(logs.rglob("raylet.out"))
    assert [path for path in leaks(logs) if path.suffix in (".log", ".out", ".err", ".json")] == []


@pytest.mark.slow
def test_a_home_is_its_owners_alone(search: Search) -> None:
    assert stat.S_IMODE(search.home.stat().st_mode) == 0o700


@pytest.mark.slow
def test_a_database_that_does_not_answer_is_told_without_its_password(run: Callable[..., Any], tmp_path: Path) -> None:
    """What it cannot say in words of ours it writes into a file of its owner's."""
    address, home = f"postgresql://{MARK}:{DATABASE}@127.0.0.1:1/mlflow", tmp_path / "home"
    done = run("search.py", SMOKE, "--home", str(home), "--tracking-uri", address, TMPDIR=str(tmp_path), **ENVIRONMENT)
    assert done.status == 2 and "MLflow does not answer at postgresql://***@127.0.0.1:1/mlflow" in done.errors
    assert MARK not in (done.output + done.errors).lower()
    assert leaks(tmp_path) == []
    for file in re.findall(r"where it came from: (\S+)", done.errors):
        assert stat.S_IMODE(Path(file).stat().st_mode) == 0o600


@pytest.mark.parametrize("command", ["search.py", "distill.py"])
def test_keys_in_the_address_of_a_storage_are_refused(run: Callable[..., Any], tmp_path: Path, command: str) -> None:
    """The address is remembered, and Ray shows it; the environment is the place for keys."""
    storage = f"s3://AKIA{MARK}:{MARK}@bucket/prefix"
    done = run(command, SMOKE, "--home", str(tmp_path / "home"), "--storage", storage, "--dry-run")
    assert done.status == 2 and "--storage: leave keys and passwords out of 's3://***@bucket/prefix'" in done.errors
    assert MARK not in (done.output + done.errors).lower()
    assert leaks(tmp_path) == []

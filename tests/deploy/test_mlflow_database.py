"""deploy/mlflow_database.sh, against a PostgreSQL of its own: a folder, a socket, and no port."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "mlflow_database.sh"
BECOME_POSTGRES = """#!/bin/sh
shift 3 # `-n -u postgres`, or `-u postgres --`
echo "$*" >> {calls}
PGUSER=postgres exec "$@"
"""
REFUSE = """#!/bin/sh
echo "sudo: a password is required" >&2
exit 1
"""


@dataclass
class Database:
    """A PostgreSQL server whose only role is postgres, and an environment that reaches it."""

    environment: dict[str, str]
    calls: Path  # what the script did as postgres

    def make(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run([SCRIPT], env=self.environment, capture_output=True, text=True, timeout=60)

    def ask(self, question: str) -> str:
        command = ["psql", "-XtA", "-d", "mlflow", "-c", question]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()


def stand_in_for_sudo(folder: Path, text: str) -> None:
    for name in ("sudo", "runuser"):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


@pytest.fixture
def database(postgresql: Any, tmp_path: Path) -> Database:
    stand_in_for_sudo(tmp_path, BECOME_POSTGRES.format(calls=tmp_path / "calls"))
    (tmp_path / "calls").touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    return Database(environment | {"PATH": path, "PGHOST": postgresql.folder}, tmp_path / "calls")


@pytest.mark.slow
def test_the_caller_and_nobody_else_is_let_in_and_a_second_call_needs_no_sudo(database: Database) -> None:
    done = database.make()
    assert done.returncode == 0, done.stderr
    assert (
        database.ask("SELECT current_user = pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'mlflow'") == "t"
    )
    assert database.ask("SELECT has_database_privilege('public', 'mlflow', 'CONNECT')") == "f"
    before = database.calls.read_text()
    assert "REVOKE" in before
    assert database.make().returncode == 0
    assert database.calls.read_text() == before


@pytest.mark.slow
def test_what_was_cut_off_half_way_is_finished(database: Database) -> None:
    as_postgres = database.environment | {"PGUSER": "postgres"}
    user = pwd.getpwuid(os.geteuid()).pw_name
    for command in (["createuser", user], ["createdb", "--owner", user, "mlflow"]):
        subprocess.run(command, env=as_postgres, check=True, timeout=60)
    assert database.ask("SELECT has_database_privilege('public', 'mlflow', 'CONNECT')") == "t"
    assert database.make().returncode == 0
    assert database.ask("SELECT has_database_privilege('public', 'mlflow', 'CONNECT')") == "f"


def test_without_leave_to_be_postgres_it_says_what_is_missing(tmp_path: Path) -> None:
    stand_in_for_sudo(tmp_path, REFUSE)
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PGHOST": str(tmp_path)}
    done = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "sudo without a password" in done.stderr and "by hand" in done.stderr

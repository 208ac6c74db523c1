from __future__ import annotations

import contextlib
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dfkd.tracking.connection import _unreachable, check_reachable, ui_address, ui_command
from dfkd.tracking.home import default_tracking_uri


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_closed_port_is_an_error_that_names_the_address_and_a_way_out() -> None:
    port = _free_port()
    with pytest.raises(ConnectionError, match=rf"127.0.0.1:{port}(?s:.*)mlflow server --host"):
        check_reachable(f"http://user:secret@127.0.0.1:{port}")


def test_the_error_of_a_closed_port_does_not_show_the_password() -> None:
    with pytest.raises(ConnectionError) as caught:
        check_reachable(f"http://user:secret@127.0.0.1:{_free_port()}")
    assert "secret" not in str(caught.value)


def test_a_server_that_never_answers_is_an_error_within_15_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(ConnectionError, match="does not answer"):
            check_reachable(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - start < 15


def test_a_server_that_is_not_mlflow_is_an_error() -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            self.send_error(404)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with pytest.raises(ConnectionError, match="404"):
            check_reachable(f"http://127.0.0.1:{other.server_port}")
        other.shutdown()


def test_a_database_in_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="no folder"):
        check_reachable(f"sqlite:///{tmp_path}/absent/mlflow.db")
    assert not (tmp_path / "absent").exists()


def test_a_home_with_spaces_gets_its_database_without_a_word(created_store: tuple[Path, str]) -> None:
    home, printed = created_store
    assert printed == ""
    assert [path.name for path in home.glob("*.db")] == ["mlflow.db"]


def test_a_database_of_another_mlflow_is_an_error_that_names_the_command(home: Path, tmp_path: Path) -> None:
    shutil.copy(home / "mlflow.db", tmp_path / "other.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    with pytest.raises(ConnectionError, match="mlflow db upgrade 'sqlite:///.*other.db'"):
        check_reachable(f"sqlite:///{tmp_path}/other.db")


def test_a_file_that_is_no_database_is_an_error_at_once_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("my diary " * 500)
    start = time.monotonic()
    with pytest.raises(ConnectionError, match="not a database"):
        check_reachable(default_tracking_uri(tmp_path))
    assert time.monotonic() - start < 2
    assert (tmp_path / "mlflow.db").read_text() == "my diary " * 500


def test_no_advice_and_no_error_of_a_database_shows_its_password() -> None:
    uri = "postgresql://me:secret@127.0.0.1:1/runs"
    outdated = _unreachable(uri, RuntimeError(f"Detected out-of-date database schema in {uri}"))
    assert "mlflow db upgrade 'postgresql://***@127.0.0.1:1/runs'" in str(outdated)
    assert "secret" not in str(outdated)
    with pytest.raises(ConnectionError) as caught:
        check_reachable("nodatabase+driver://me:secret@host/runs")
    assert "secret" not in str(caught.value)


def test_addresses_for_people_say_how_to_look() -> None:
    assert ui_command("http://host:5000") is None
    assert ui_address("http://me:pw@host:5000") == "http://host:5000"
    assert ui_command("sqlite:////h/mlflow.db") == "mlflow ui --backend-store-uri 'sqlite:////h/mlflow.db' --port 5000"
    assert ui_address("sqlite:////h/mlflow.db") == "http://127.0.0.1:5000"


def test_no_module_of_tracking_imports_mlflow_at_import() -> None:
    modules = "home connection credentials journal delivery mlflow_store mlflow_tracker card protocol registry"
    modules += " registry_reading"
    code = (
        f"import sys; [__import__('dfkd.tracking.' + m) for m in {modules.split()}]; assert 'mlflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

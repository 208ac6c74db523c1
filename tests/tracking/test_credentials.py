from __future__ import annotations

from pathlib import Path

import pytest

from dfkd.jobs.command import run_command
from dfkd.tracking import delivery
from dfkd.tracking.connection import import_mlflow
from dfkd.tracking.credentials import hide_credentials, without_credentials
from dfkd.tracking.delivery import Delivery
from dfkd.tracking.journal import Journal

SECRET = "http://bob:hunter2@127.0.0.1:1"  # where nobody answers


@pytest.fixture(autouse=True)
def no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def test_addresses_for_people_hide_passwords() -> None:
    assert without_credentials("http://me:pw@host:5000/a") == "http://***@host:5000/a"
    assert without_credentials("postgresql://me:p/w#@host/db") == "postgresql://***@host/db"
    assert (
        without_credentials("mysql://host/db?user=me&password=pw&ssl=1")
        == "mysql://host/db?user=***&password=***&ssl=1"
    )
    assert without_credentials("sqlite:////home/me@work/mlflow.db") == "sqlite:////home/me@work/mlflow.db"


def test_a_text_shows_no_password_of_any_address_in_it_and_keeps_all_else() -> None:
    text = f"GET {SECRET}/api failed, as did 'postgresql://me:pw@host/db'; see a@b.c and models:/name@champion"
    hidden = "GET http://***@127.0.0.1:1/api failed, as did 'postgresql://***@host/db'; "
    assert hide_credentials(text) == hidden + "see a@b.c and models:/name@champion"
    assert hide_credentials("no host bob:p/w@h", "http://bob:p%2Fw@h") == "no host bob:***@h"
    assert hide_credentials("sqlite:////home/me@work/mlflow.db") == "sqlite:////home/me@work/mlflow.db"


def test_what_mlflow_says_of_its_address_is_printed_without_the_password(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), run_command():
        import_mlflow().MlflowClient(SECRET).search_experiments()
    said = capsys.readouterr().err
    assert "127.0.0.1" in said and "hunter2" not in said


def test_neither_the_log_nor_the_last_words_nor_the_files_of_a_delivery_hold_the_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "RETRY_SECONDS", (0.1, 0.1))
    told = Delivery(Journal(tmp_path), SECRET)
    told._journal.append("p", "open", {"experiment": "e", "artifact_location": None, "tags": {}, "parent_key": None})
    told.wake()
    with pytest.raises(ConnectionError, match=r"at http://\*\*\*@127.0.0.1:1 did not take the run") as refused:
        told.wait_for_run("p", timeout_seconds=1.0)
    left = told.stop(timeout_seconds=0.1)
    assert left is not None and "127.0.0.1" in left and "does not take events now" in caplog.text
    for text in (str(refused.value), left, caplog.text, *(path.read_text() for path in tmp_path.glob("*.json*"))):
        assert "hunter2" not in text

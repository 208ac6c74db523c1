"""The way to MLflow: a quiet import, short time limits, whether anybody answers, and where the UI is."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from dfkd.tracking.answers import was_away
from dfkd.tracking.credentials import hide_credentials, without_credentials

#: Set before MLflow is imported, unless the user set them. One retry, because after a server's restart the first
#: request on a kept connection always fails; a long wait is the delivery thread's business.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}
UI_PORT = 5000
#: Ends the address of a page in MLflow's UI (3.17), which shows new browsers its pages for language models otherwise.
TRAINING_PAGES = "?workflowType=machine_learning"


def import_mlflow() -> Any:
    """Return the module ``mlflow``, without its telemetry, migration logs, links and progress bars."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow

    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it warns of every retry; we warn once
    return mlflow


@contextlib.contextmanager
def as_default(tracking_uri: str) -> Iterator[None]:
    """Make an address the process's own for a while.

    MLflow (3.17) looks a logged model up there when a version is made of it, whatever the client's address is
    (``store.model_registry.sqlalchemy_store.create_model_version``, where a TODO says so).
    """
    mlflow = import_mlflow()
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(tracking_uri)  # sets the environment variable too
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def check_reachable(tracking_uri: str, *, create: bool = True) -> None:
    """Return if MLflow answers at the address; create the store if it is a local file that is absent.

    Args:
        tracking_uri: see ``home.resolve_tracking_uri``.
        create: else a store that is absent stays so, and only its folder is looked for.

    Raises:
        ConnectionError: within 15 seconds (a new local store may take longer), with what was tried and what to do.
    """
    check_server_answers(tracking_uri)
    try:
        local = tracking_uri.startswith("sqlite:")
        if local:
            _check_folder(file := Path(tracking_uri.removeprefix("sqlite:///")))
            if not create and not file.exists():
                return
            _check_database(file)  # MLflow would try for two minutes
        client = import_mlflow().MlflowClient
        _within(60.0 if local else 8.0, lambda: client(tracking_uri).search_experiments(max_results=1))
    except Exception as error:
        raise _unreachable(tracking_uri, error) from error


@contextlib.contextmanager
def told_when_unreachable(tracking_uri: str) -> Iterator[None]:
    """Run what needs MLflow; an error that comes because it is or was away is raised as ``ConnectionError``."""
    try:
        yield
    except Exception as error:
        check_reachable(tracking_uri)
        if was_away(error):
            raise ConnectionError(
                f"MLflow at {without_credentials(tracking_uri)} was away for a moment "
                f"({_first_line(error, tracking_uri)})."
            ) from error
        raise


def check_server_answers(tracking_uri: str) -> None:
    """Return if a server answers at the address, or none is needed; without MLflow, whose import alone takes seconds.

    Raises:
        ConnectionError: within 6 seconds.
    """
    if tracking_uri.startswith(("http:", "https:")):
        try:
            _within(6.0, lambda: _probe(tracking_uri))
        except Exception as error:
            raise _unreachable(tracking_uri, error) from error


def ui_command(tracking_uri: str) -> str | None:
    """Return the command that opens the UI of a store without a server, or None where a server shows it."""
    if tracking_uri.startswith(("http:", "https:", "databricks")):
        return None
    return f"mlflow ui --backend-store-uri '{without_credentials(tracking_uri)}' --port {UI_PORT}"


def ui_address(tracking_uri: str) -> str:
    """Return where the UI is: the server itself, or where ``ui_command`` puts it."""
    if ui_command(tracking_uri) is not None:
        return f"http://127.0.0.1:{UI_PORT}"
    return without_credentials(tracking_uri).replace("***@", "")


def _unreachable(tracking_uri: str, error: Exception) -> ConnectionError:
    return ConnectionError(
        f"tracking uri: MLflow does not answer at {without_credentials(tracking_uri)}: "
        f"{_first_line(error, tracking_uri)}\n"
        f"{_advice(tracking_uri, str(error))}"
    )


def _probe(tracking_uri: str) -> None:
    """Return if anything at all answers HTTP there; what it says is for the MLflow client to judge."""
    parts = urlsplit(tracking_uri)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    try:
        urllib.request.urlopen(f"{bare}/health", timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ssl.SSLError):  # MLflow has its own settings for certificates
            raise


def _within(seconds: float, action: Callable[[], object]) -> None:
    """Run ``action``, but wait no longer than this for it: name resolution and databases have limits of their own."""
    outcome: list[BaseException | None] = []

    def run() -> None:
        try:
            action()
            outcome.append(None)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True, name="mlflow-reachable")
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError(f"no answer within {seconds:g} s")
    if outcome[0] is not None:
        raise outcome[0]


def _check_folder(file: Path) -> None:
    if not file.parent.is_dir():
        raise FileNotFoundError(f"there is no folder '{file.parent}'")


def _check_database(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA schema_version")


def _first_line(error: BaseException, tracking_uri: str) -> str:
    lines = hide_credentials(str(error), tracking_uri).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _advice(tracking_uri: str, text: str) -> str:
    shown = without_credentials(tracking_uri)
    if "out-of-date database schema" in text:
        return f"Another MLflow wrote it. Copy the database, then run `mlflow db upgrade '{shown}'`."
    if "Invalid Host" in text:
        return "The server refuses this host name: start it with --allowed-hosts '<name>:<port>'."
    if "401" in text or "Unauthorized" in text:
        return "The server wants a login: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
    if tracking_uri.startswith(("http:", "https:")):
        port = urlsplit(tracking_uri).port or UI_PORT
        return (
            "Check the address, start a server (`mlflow server --host 127.0.0.1 "
            f"--port {port}`), or leave --tracking-uri and MLFLOW_TRACKING_URI out to use the store in the home folder."
        )
    return "Check the address and its folder, or leave --tracking-uri and MLFLOW_TRACKING_URI out."

"""The home folder, and which MLflow store belongs to it; checked before MLflow is imported."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from dfkd.tracking.credentials import without_credentials

MINIMUM_FREE_BYTES = 200_000_000


def open_home(folder: str | Path | None = None, *, minimum_free_bytes: int = MINIMUM_FREE_BYTES) -> Path:
    """Return the absolute home folder, made if absent and known to be writable.

    Args:
        folder: None for ``~/.dfkd``. A new folder is readable by its owner only: it may hold images of a teacher.
        minimum_free_bytes: of its disk.

    Raises:
        OSError: the folder cannot be made or written, or its disk is full.
    """
    home = Path(folder if folder is not None else "~/.dfkd").expanduser().absolute()
    advice = "Give another folder with --home."
    try:
        if not home.is_dir():
            home.mkdir(mode=0o700, parents=True)
        probe = home / f".probe-{os.getpid()}"
        probe.write_bytes(b"dfkd" * 1024)  # a real write: permission bits say nothing of read-only or full disks
        probe.unlink()
    except OSError as error:
        raise OSError(f"home: expected a folder that can be written, got '{home}' ({error}). {advice}") from error
    free_bytes = shutil.disk_usage(home).free
    if free_bytes < minimum_free_bytes:
        raise OSError(
            f"home: expected at least {minimum_free_bytes / 1e6:.0f} MB free on the disk of '{home}', "
            f"found {free_bytes / 1e6:.0f} MB. Free some space. {advice}"
        )
    return home


def default_tracking_uri(home: Path) -> str:
    """Return the SQLite store of a home folder: ``sqlite:////abs/home/mlflow.db``."""
    return f"sqlite:///{home.absolute()}/mlflow.db"


def resolve_tracking_uri(requested: str | None, *, home: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Return the address to track at: the one requested, else ``MLFLOW_TRACKING_URI``, else the home's own store.

    Raises:
        ValueError: a plain folder, which MLflow no longer writes to, or an SQLite address without a file.
    """
    uri = requested or environment.get("MLFLOW_TRACKING_URI") or default_tracking_uri(home)
    if uri.startswith("file:") or not ("://" in uri or uri.startswith("databricks")):
        shown = re.sub(r"^.*@", "***@", uri)  # somebody forgot the http:// before user and password
        raise ValueError(
            f"tracking uri: expected http(s)://host:port or sqlite:////absolute/path/mlflow.db, got '{shown}'. "
            "MLflow no longer writes runs to a plain folder; leave it out to use the store in the home folder."
        )
    if uri.startswith(("http:", "https:")) and "@" in uri and "@" not in urlsplit(uri).netloc:
        raise ValueError(
            f"tracking uri: the password in {without_credentials(uri)} holds one of /?# as it is. Write it as %2F, %3F "
            "or %23, or set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
        )
    if not uri.startswith("sqlite:"):
        return uri.rstrip("/")
    path = uri.removeprefix("sqlite:///")
    if path in ("", uri, ":memory:") or set(path) & set("?#%"):
        raise ValueError(
            f"tracking uri: expected sqlite:////absolute/path/mlflow.db with none of ?#% in it, got '{uri}'."
        )
    return f"sqlite:///{Path(path).expanduser().absolute()}"  # a relative path would follow each process's cwd


def is_local_store(tracking_uri: str) -> bool:
    """Whether the store is a file of this machine, which other nodes must not open."""
    if tracking_uri.startswith("databricks"):
        return False
    return tracking_uri.startswith(("sqlite:", "file:")) or "://" not in tracking_uri


def is_new_store(tracking_uri: str) -> bool:
    """Whether the store is a file that does not exist yet; a look into it through MLflow would make it."""
    return tracking_uri.startswith("sqlite:///") and not Path(tracking_uri.removeprefix("sqlite:///")).exists()


def artifact_location(tracking_uri: str, *, home: Path) -> str | None:
    """Return where a new experiment keeps its files; None where a server decides."""
    if tracking_uri.startswith(("http:", "https:", "databricks")):
        return None
    return str(home.absolute() / "artifacts")


def refuse_local_store_on_cluster(tracking_uri: str, *, num_nodes: int, may_grow: bool = False) -> None:
    """Raise ValueError when a local store would serve a cluster that has several nodes, or may get them."""
    if (num_nodes > 1 or may_grow) and is_local_store(tracking_uri):
        size = f"has {num_nodes} nodes" if num_nodes > 1 else "may get more nodes"
        raise ValueError(
            f"tracking uri: '{tracking_uri}' is a file of this machine, but the cluster {size}. "
            "If this process restarted on another node, its runs and models would be split over two files. "
            "Start a server with a login on the head node (deploy/mlflow_server.sh, docs/clusters.md) and pass its "
            "address with --tracking-uri or MLFLOW_TRACKING_URI."
        )

"""What a command needs around it, checked before torch, Ray and MLflow are loaded: folder, addresses, weights file."""

from __future__ import annotations

from pathlib import Path

from dfkd.jobs.ray_cluster import check_address
from dfkd.settings.experiment import ExperimentSettings
from dfkd.tracking.connection import check_server_answers
from dfkd.tracking.home import open_home, resolve_tracking_uri

REGISTRY = "models:/"


def check_surroundings(
    settings: ExperimentSettings, *, home: str | None, tracking_uri: str | None, ray: bool = False
) -> None:
    """Return if the command can be expected to run here.

    Args:
        settings: its experiment.
        home: folder of everything that is kept, as the user gave it.
        tracking_uri: of MLflow, as the user gave it.
        ray: whether the command needs a Ray cluster.

    Raises:
        ConnectionError: MLflow or Ray does not answer.
        OSError: the home folder cannot be written.
        ValueError: the teacher's weights are not there.
    """
    check_server_answers(resolve_tracking_uri(tracking_uri, home=open_home(home)))
    check_weights(settings.teacher.weights)
    if ray:
        check_address()


def check_weights(weights: str | None) -> None:
    """Raise ValueError if the teacher is to come from a file or folder that does not exist."""
    if weights is None or weights.startswith(REGISTRY):
        return
    path = Path(weights).expanduser()
    if not path.exists():
        raise ValueError(f"teacher.weights: {path} does not exist (looked from {Path.cwd()}).")

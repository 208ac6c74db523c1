"""The Ray cluster that a command runs on: the one it was submitted to, or one on this machine."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Read by Ray when it is imported. Ray Tune's own logging would write each result three times more.
ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_COLOR_PREFIX": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


@contextmanager
def connected(address: str | None = None) -> Iterator[None]:
    """Connect to a cluster, and let go of it (or stop it, if it was started here) when the block ends.

    Inside a submitted job Ray names the cluster itself (``RAY_ADDRESS``). Without one a cluster is started on this
    machine alone.

    Args:
        address: of a running cluster.

    Raises:
        ConnectionError: the cluster does not answer.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    known = address or os.environ.get("RAY_ADDRESS")
    try:
        if known:
            ray.init(address=known, runtime_env=_runtime_env(), log_to_driver=False, logging_level="ERROR")
        else:
            ray.init(address="local", runtime_env=_runtime_env(), log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError) as error:
        raise ConnectionError(
            f"ray: no cluster answers at '{known or 'local'}' ({str(error).splitlines()[0]}). "
            "Check the address, that `ray start --head` runs there, and that RAY_AUTH_MODE and the token are the same "
            "on both sides."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _runtime_env() -> dict[str, object]:
    """Ship the package to workers whenever it is used from its source tree without being installed."""
    environment: dict[str, object] = {"env_vars": dict(ENVIRONMENT)}
    try:
        importlib.metadata.version("dfkd")
    except importlib.metadata.PackageNotFoundError:
        environment["py_modules"] = [str(Path(__file__).resolve().parents[1])]
    return environment

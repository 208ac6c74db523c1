"""The Ray cluster that a command runs on: the one it was submitted to, or one on this machine."""

from __future__ import annotations

import logging
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dfkd.jobs.command import catch_termination
from dfkd.jobs.console import first_line

#: Read by Ray, here and in the trials' processes. Ray Tune's own output would write each result three times more, and
#: it takes an interrupt for a good end; Ray Train takes one report a poll, whose 2 s would stall short epochs; and a
#: process that was given no GPU must see none, or `device: auto` would take one that Ray does not count. Ray runs a
#: trial in a thread, of whose freed memory the GNU C library keeps less than of the first one's (docs/findings.md).
ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_COLOR_PREFIX": "0",
    "MALLOC_ARENA_MAX": "1",  # with `cluster.memory.keep_freed_memory`
}
AWS_KEYS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"}
SHIP_SOURCE = "DFKD_SHIP_SOURCE"  # set by `experiments/_bootstrap.py` where the package is not installed
TOO_SLOW = "node timed out during startup"  # what Ray says then
CONNECT_SECONDS = 5.0
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # and an empty SETTINGS frame


def check_address() -> None:
    """Raise ConnectionError if a cluster is named (``RAY_ADDRESS``) and does not answer."""
    address = _address()
    try:
        check_answers(address)
    except (OSError, ValueError) as error:
        raise _unreachable(address, error) from error


@contextmanager
def connected() -> Iterator[None]:
    """Connect to a cluster, and let go of it (or stop it, if it was started here) when the block ends.

    Inside a submitted job Ray names the cluster itself (``RAY_ADDRESS``). Without one a cluster is started on this
    machine alone.

    Raises:
        ConnectionError: the cluster does not answer, or cannot be joined or started.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    check_address()
    import ray

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a failed trial is told by us, in one line
    address = _address()
    if address == "local" and not _has_route():
        _stay_on_loopback()
    try:
        _start(address)
    except Exception as error:
        raise _not_joined(address, error) from error
    guard_token()
    if address == "local":
        _keep_keys_out_of_logs()
    catch_termination()  # `ray.init` (2.60) has put a handler of its own in place, which aborts
    try:
        yield
    finally:
        ray.shutdown()


def _start(address: str) -> None:
    """Join or start a cluster; a machine too busy to start one within Ray's 30 s gets a second try, warm by then."""
    import ray

    options = {"runtime_env": _runtime_env(address), "log_to_driver": False, "logging_level": "ERROR"}
    try:
        ray.init(address=address, **options)
    except Exception as error:  # Ray (2.60) has no class of its own for it
        if TOO_SLOW not in str(error):
            raise
        ray.shutdown()  # processes of the first try that it does not know of end with this one
        ray.init(address=address, **options)


def _has_route() -> bool:
    """Whether a packet to the world would leave this machine; none is sent."""
    for family, address in ((socket.AF_INET, "8.8.8.8"), (socket.AF_INET6, "2001:4860:4860::8888")):  # Ray's own
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 53))
            return True
    return False


def _stay_on_loopback() -> None:
    """Have Ray use 127.0.0.1: without a route, Ray (2.60) warns, and looks its own address up by the machine's name."""
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False  # as it is on Windows and macOS


def guard_token() -> None:
    """Let nobody else read the token of this user's clusters, which Ray (2.60) leaves readable for everybody."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    with suppress(OSError):  # it is not there, or somebody else's
        if stat.S_IMODE(token.stat().st_mode) & 0o077:
            token.chmod(0o600)


def _keep_keys_out_of_logs() -> None:
    """Have Ray Tune not hand the AWS keys on: trials of a cluster of our own inherit them with the environment.

    Ray Tune (2.60) makes them part of a trial's runtime environment, which Ray's agent writes into its log as it is
    (``runtime_env_agent.log``). Processes of another machine need them that way where their node has none.
    """
    from ray.tune.execution import class_cache

    class_cache.ENV_VARS_TO_PROPAGATE = class_cache.ENV_VARS_TO_PROPAGATE - AWS_KEYS


def _address() -> str:
    return os.environ.get("RAY_ADDRESS") or "local"


def _unreachable(address: str, error: Exception) -> ConnectionError:
    return ConnectionError(
        f"ray: no cluster answers at '{address}' ({first_line(error)}). "
        "Check the address, that `ray start --head` runs there, and that RAY_AUTH_MODE and the token are the same "
        "on both sides; or leave RAY_ADDRESS out to start a cluster on this machine."
    )


def _not_joined(address: str, error: Exception) -> ConnectionError:
    """Return what to raise where Ray itself refused: other versions, no space, an environment that cannot be made."""
    what = "a cluster could not be started on this machine" if address == "local" else f"'{address}' cannot be joined"
    words = " ".join(str(error).split())[:600] or "no message"
    return ConnectionError(
        f"ray: {what} ({type(error).__name__}: {words}). On a cluster, Ray, Python and the token (RAY_AUTH_MODE) must "
        "be the same on both sides; for one on this machine, /tmp must have space and RAY_ADDRESS be unset."
    )


def check_answers(address: str) -> None:
    """Return if something that speaks Ray's protocol answers at ``host:port``.

    ``ray.init`` (2.60) would try for minutes, and then end the process. ``local`` and ``auto`` are left to it.

    Raises:
        OSError: nothing answers within seconds.
        ValueError: it is no address, or something else answers.
    """
    if address in ("local", "auto"):
        return
    if "://" in address:
        raise ValueError("expected host:port as `ray start --head` prints it, not the dashboard's or Ray Client's")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("expected host:port")
    with socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS") == "1":
            return
        connection.sendall(_HTTP2_PREFACE)
        if connection.recv(4)[3:] != b"\x04":  # a server's SETTINGS frame; gRPC speaks HTTP/2
            raise ValueError("something else than Ray answers there")


def _runtime_env(address: str) -> dict[str, object]:
    """Return what workers need that they do not have: nodes of another machine our environment, perhaps the package."""
    environment: dict[str, object] = {}
    if address != "local":  # a cluster of our own inherits it, and its workers start faster without
        environment["env_vars"] = {name: os.environ[name] for name in ENVIRONMENT}
    if os.environ.get(SHIP_SOURCE):
        environment["py_modules"] = [str(Path(__file__).resolve().parents[1])]
    return environment

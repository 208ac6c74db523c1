"""How a command begins and ends: a console, and errors of the user's as one message instead of a stack trace."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import sysconfig
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from dfkd.jobs.console import Console, harmless
from dfkd.tracking.answers import has_lost_database
from dfkd.tracking.credentials import hide_credentials

_terminated, _interrupted = threading.Event(), threading.Event()

#: What follows the help of a command.
EXIT_STATUS = """exit status:
  0    done
  1    a defect of ours or of the machine, with its trace
  2    something that you can mend, in one message
  130  interrupted by Ctrl-C: what was reported is kept; a second Ctrl-C ends at once
  143  terminated, as by `ray job stop`: the same"""

AT_ONCE = "interrupted again: ended at once; the next command ends the runs that this one left open in MLflow"
INTERRUPTED = "interrupted: everything reported so far is kept"
#: Answers of MLflow to a request that we should not have made: a defect of ours.
MLFLOW_MISUSE = ("INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_ALREADY_EXISTS", "BAD_REQUEST")
#: Ray's words for a cluster that is gone, refuses us or is full; those that wrap an error of our own are not here.
RAY_TROUBLES = (
    "ActorUnavailableError", "AuthenticationError", "LocalRayletDiedError", "NodeDiedError", "ObjectStoreFullError",
    "OutOfDiskError", "OutOfMemoryError", "RaySystemError", "RpcError", "RuntimeEnvSetupError",
)  # fmt: skip


@contextmanager
def run_command(*, interrupted: str = INTERRUPTED) -> Iterator[Console]:
    """Give a console; turn errors that a user can mend into a message and exit status 2.

    An interrupt ends with status 130, a termination with 143; both leave no run open. Anything else is a defect of
    ours, or of the machine, and keeps its trace. So does, in a file, what no line of ours raised in so many words: it
    may be a defect too.

    Args:
        interrupted: what is said after an interrupt.
    """
    logging.basicConfig(
        format="%(message)s"
    )  # else MLflow (3.17) has only errors shown once it imports its PyTorch part
    _interrupted.clear()
    catch_termination()
    try:
        yield Console()
    except (ValueError, OSError, FloatingPointError) as error:  # ConnectionError is an OSError
        print(f"error: {harmless(hide_credentials(str(error)))}", file=sys.stderr)
        if not is_told_by_us(error) and (file := keep_trace(error)):
            print(f"where it came from: {file}", file=sys.stderr)
        raise SystemExit(2) from None
    except Exception as error:
        if (words := trouble_in_words(error)) is None:
            raise
        print(f"error: {harmless(words)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        raise SystemExit(143 if _terminated.is_set() else 130) from None


def is_told_by_us(error: BaseException) -> bool:
    """Whether a ``raise`` of our own sources says what is wrong, for a user to read."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    ours, libraries = str(Path(__file__).parents[1]), [sysconfig.get_path(name) for name in ("stdlib", "purelib")]
    is_ours = last.filename.startswith(ours) or not last.filename.startswith(tuple(libraries))
    return is_ours and (last.line or "").startswith("raise")


def keep_trace(error: BaseException) -> str | None:
    """Write an error's trace to a new file that its owner alone can read, and return its path; None without space."""
    text = hide_credentials("".join(traceback.format_exception(error)))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="dfkd-trace-", suffix=".txt", delete=False) as file:
            file.write(text)
    except OSError:
        return None
    return file.name


def trouble_in_words(error: Exception) -> str | None:
    """Return what MLflow or Ray says of itself, or None if the error is a defect of ours.

    Their classes are told by name: this module is loaded before they are.
    """
    module, name = type(error).__module__.partition(".")[0], type(error).__name__
    code = getattr(error, "error_code", None)
    if module == "mlflow" and code is not None and (code not in MLFLOW_MISUSE or has_lost_database(error)):
        return f"MLflow: {_shorten(error)} ({code})"
    if module == "ray" and name in RAY_TROUBLES:
        return f"Ray: {_shorten(error)} ({name})"
    return None


def _shorten(error: Exception) -> str:
    lines = [line.strip() for line in hide_credentials(str(error)).splitlines() if line.strip()]
    return " ".join(lines[:3])[:600]


def going_on() -> str:
    """Return what is said after an interrupt of a search: with the command that goes on, to be copied."""
    again = [argument for argument in sys.argv[1:] if argument != "--resume"]
    return f"{INTERRUPTED}; go on from here with\n  {shlex.join(['python', sys.argv[0], *again, '--resume'])}"


def catch_termination() -> None:
    """Turn SIGTERM, as `ray job stop` and most schedulers send it, into an interrupt: else no ``finally`` would run.

    A second Ctrl-C ends the process there and then, whatever is still being closed. Where the shell has this command
    ignore interrupts, as one that it runs in the background, it goes on ignoring them.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, _interrupt)


def _terminate(number: int, frame: FrameType | None) -> None:
    _terminated.set()
    raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _interrupted.is_set():
        os.write(2, f"{AT_ONCE}\n".encode())  # a handler may have come between the halves of a print
        os._exit(130)
    _interrupted.set()
    if sys.stderr.isatty():
        os.write(2, b"interrupted: closing what is open; Ctrl-C again ends at once\n")
    raise KeyboardInterrupt


def open_output(file: str | None, *, option: str = "--json", make_folder: bool = True) -> Path | None:
    """Return the path of a file to write at the end, known to be writable now; None where none is wanted.

    Args:
        file: as the user gave it.
        option: by which.
        make_folder: make its folder if it is absent; else see only whether that can be done.

    Raises:
        OSError: it cannot be written.
    """
    if file is None:
        return None
    path = Path(file).expanduser().absolute()
    try:
        if not make_folder and not path.parent.exists():
            check_writable(path.parent)
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        path.open("a").close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise OSError(f"{option}: expected a file that can be written, got '{file}' ({error}).") from error
    return path


def check_writable(folder: Path) -> None:
    """Raise OSError unless files can be written to a folder, or to the one that it would be made in; leave nothing."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    with tempfile.TemporaryFile(dir=nearest) as file:
        file.write(b"dfkd")

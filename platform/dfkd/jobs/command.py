"""How a command begins and ends: a console, and errors of the user's as one message instead of a stack trace."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from dfkd.jobs.console import Console


@contextmanager
def run_command() -> Iterator[Console]:
    """Give a console; turn errors that a user can mend into a message and exit status 2.

    An interrupt ends with status 130, a termination with 143; both leave no run open. Anything else is a defect of
    ours, or of the machine, and keeps its trace.
    """
    catch_termination()
    try:
        yield Console()
    except (ValueError, OSError) as error:  # ConnectionError and FileNotFoundError are OSErrors
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt as interrupt:
        print("interrupted: everything reported so far is kept; --resume goes on from here", file=sys.stderr)
        raise SystemExit(143 if isinstance(interrupt, Termination) else 130) from None


class Termination(KeyboardInterrupt):
    """SIGTERM, as `ray job stop` and most schedulers send it; it ends a command as an interrupt does."""


def catch_termination() -> None:
    """Turn SIGTERM into ``Termination``: left alone it would skip every ``finally``."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Termination

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)


def open_output(file: str | None, *, option: str = "--json") -> Path | None:
    """Return the path of a file to write at the end, known to be writable now; None where none is wanted.

    Raises:
        OSError: it cannot be written.
    """
    if file is None:
        return None
    path = Path(file).expanduser().absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        path.open("a").close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise OSError(f"{option}: expected a file that can be written, got '{file}' ({error}).") from error
    return path

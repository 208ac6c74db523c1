"""One agent a machine, the newest: a lock file that names its holder. Standard library only: it knows no Ray."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path
from typing import IO

POLL_SECONDS = 0.1


def take_over(path: Path, *, timeout_seconds: float = 10.0) -> IO[str]:
    """Take the lock; a process that holds it is ended first.

    An agent that was started for an earlier head would otherwise keep out the one that knows the new head.

    Args:
        path: of the lock file; made if it is not there.
        timeout_seconds: how long the holder may take to end.

    Returns:
        The open file: the lock is held for as long as it is open.

    Raises:
        TimeoutError: the holder does not end, or the file does not name it.
        PermissionError: the file or the holder is another user's.
    """
    file = path.open("a+")
    deadline = time.monotonic() + timeout_seconds
    try:
        while not _lock(file):
            holder = _holder(file)
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{path}: expected that its holder ends within {timeout_seconds:g} s, got process "
                    f"{holder or 'unknown'} still there. End it (`fuser -v {path}` shows it) and start again."
                )
            if holder:
                _end(holder)
            time.sleep(POLL_SECONDS)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
    except OSError:
        file.close()
        raise
    return file


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: IO[str]) -> int:
    """Return the process that the file names; 0 where it names none, as between its lock and its first line."""
    file.seek(0)
    text = file.read().strip()
    return int(text) if text.isdigit() else 0


def _end(process: int) -> None:
    try:
        os.kill(process, signal.SIGTERM)
    except ProcessLookupError:
        return

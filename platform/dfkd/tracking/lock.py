"""A lock between processes of one machine: it goes with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO


def lock_exclusively(path: Path, message: str) -> IO[str]:
    """Open and lock a file, made if absent; closing it lets others have it.

    Raises:
        BlockingIOError: another process, or this one, holds it: with this message.
    """
    lock_file = path.open("w")
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock_file.close()
        raise BlockingIOError(message) from error
    return lock_file

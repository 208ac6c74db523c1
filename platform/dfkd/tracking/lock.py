"""A lock between processes of one machine: it goes with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from pathlib import Path
from typing import IO


def lock_exclusively(path: Path, message: str) -> IO[str]:
    """Open and lock a file, made if absent, and write into it who holds it; closing it lets others have it.

    Raises:
        BlockingIOError: another process, or this one, holds it: with this message and who that is.
        OSError: the file system has no locks.
    """
    lock_file = path.open("a+")  # what the holder wrote stays
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock_file.seek(0)
        holder = lock_file.read().strip()
        lock_file.close()
        raise BlockingIOError(f"{message} It is {holder}." if holder else message) from error
    except OSError as error:
        lock_file.close()
        raise OSError(f"{path}: files cannot be locked here ({error}). Take a home on another file system.") from error
    lock_file.truncate(0)
    lock_file.write(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
    lock_file.flush()
    return lock_file

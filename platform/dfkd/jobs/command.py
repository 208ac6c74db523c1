"""How a command begins and ends: a console, and errors of the user's as one message instead of a stack trace."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dfkd.jobs.console import Console


@contextmanager
def run_command() -> Iterator[Console]:
    """Give a console; turn errors that a user can mend into a message and exit status 2.

    An interrupt ends with status 130. Anything else is a defect of ours, or of the machine, and keeps its trace.
    """
    try:
        yield Console()
    except (ValueError, OSError) as error:  # ConnectionError and FileNotFoundError are OSErrors
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted: everything reported so far is kept; --resume goes on from here", file=sys.stderr)
        raise SystemExit(130) from None

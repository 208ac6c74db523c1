"""What a person reads while a command runs: one line an event, the same in a terminal, a file and a job's log."""

from __future__ import annotations

import re
import sys
import time
from typing import TextIO

#: Control characters but tab and end of line, and those that change the direction of writing.
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Console:
    """Prints lines with the seconds since the command began."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self._started

    def say(self, message: str) -> None:
        """Print one event."""
        print(f"[{duration(self.seconds):>7}] {harmless(message)}", file=self._stream, flush=True)

    def show(self, text: str) -> None:
        """Print a block as it is."""
        print(harmless(text), file=self._stream, flush=True)


def harmless(text: str) -> str:
    """Return text that a terminal only shows: names from files may hold its commands, or turn the writing around."""
    return _COMMANDS.sub("?", text)


def duration(seconds: float) -> str:
    """Return seconds as a person says them: ``42 s``, ``3m 05s``, ``2h 07m``."""
    whole = int(seconds)
    if whole < 100:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or words where it has none."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")


def last_line(error: BaseException) -> str:
    """Return the last line of an error's message, which is the cause where it is a trace, or words without one."""
    return (str(error).rstrip().splitlines() or ["no message"])[-1].strip()


def percent(value: float | None) -> str:
    """Return a fraction as ``97.2 %``, or a dash."""
    return "-" if value is None else f"{100 * value:.1f} %"

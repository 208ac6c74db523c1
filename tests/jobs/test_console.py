from __future__ import annotations

import io

import pytest

from dfkd.jobs.console import Console, first_line, last_line


@pytest.mark.parametrize(
    ("message", "first", "last"),
    [("", "no message", "no message"), ("\n\n", "no message", "no message"), ("\n a\nb \n", "a", "b")],
)
def test_an_error_without_a_message_has_words_too(message: str, first: str, last: str) -> None:
    error = RuntimeError(message)
    assert (first_line(error), last_line(error)) == (first, last)


def test_a_terminal_gets_the_same_plain_lines_as_a_file() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    console = Console(stream)
    console.say("trial 1/4 starts: naïve 海鰻")
    console.show("done")
    assert "\x1b" not in stream.getvalue() and "\r" not in stream.getvalue()
    assert stream.getvalue().endswith("naïve 海鰻\ndone\n")

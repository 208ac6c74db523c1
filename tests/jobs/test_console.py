from __future__ import annotations

import pytest

from dfkd.jobs.console import first_line, last_line


@pytest.mark.parametrize(
    ("message", "first", "last"),
    [("", "no message", "no message"), ("\n\n", "no message", "no message"), ("\n a\nb \n", "a", "b")],
)
def test_an_error_without_a_message_has_words_too(message: str, first: str, last: str) -> None:
    error = RuntimeError(message)
    assert (first_line(error), last_line(error)) == (first, last)

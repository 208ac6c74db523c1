from __future__ import annotations

from dfkd.tracking.journal import Event
from dfkd.tracking.put_off import PutOff


def test_of_tags_that_were_put_off_those_stay_that_nothing_newer_set() -> None:
    put_off, old = PutOff(), Event("a", "tags", {"x": "old", "y": "old"}, 1)
    put_off.note_sent([Event("a", "tags", {"y": "older"}, 0)])
    put_off.add(old)
    assert put_off.without_outdated(old) == old
    put_off.note_sent([Event("a", "tags", {"x": "new"}, 2), Event("b", "tags", {"y": "another run's"}, 3)])
    assert put_off.without_outdated(old) == Event("a", "tags", {"y": "old"}, 1)
    put_off.note_sent([old])
    assert not put_off and put_off.without_outdated(old) == old


def test_an_end_that_was_put_off_does_not_end_a_run_that_goes_on() -> None:
    put_off, end = PutOff(), Event("a", "close", {"status": "KILLED"}, 1)
    put_off.add(end)
    put_off.note_sent([Event("a", "metrics", {"values": {}, "step": 0}, 2)])
    assert put_off.without_outdated(end) == end
    put_off.note_sent([Event("a", "open", {}, 3)])
    put_off.add(end)  # tried in between, in vain: it is as old as before
    assert put_off.without_outdated(end) is None

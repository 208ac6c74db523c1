"""``PutOff``: events that come after newer ones, and what of them still holds then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dfkd.tracking.journal import Event


class PutOff:
    """Knows which events were put off, and what was sent since: an old file must not overwrite a newer one."""

    def __init__(self) -> None:
        self._since: dict[tuple[object, ...], int] = {}  # event -> how many had been sent
        self._num_sent = 0
        self._sent: dict[tuple[str, str], int] = {}  # what was written while something is put off -> its number

    def __bool__(self) -> bool:
        return bool(self._since)

    def add(self, event: Event) -> None:
        """Put an event off, from now or, where it was put off before, from then."""
        self._since.setdefault(_identity(event), self._num_sent)

    def discard(self, event: Event) -> None:
        """Put an event off no more."""
        self._since.pop(_identity(event), None)

    def note_sent(self, events: Sequence[Event]) -> None:
        """Note that events were sent, in this order."""
        for event in events:
            self.discard(event)
            self._num_sent += 1
            self._sent |= dict.fromkeys(_written_by(event), self._num_sent)
        if not self:
            self._sent.clear()

    def without_outdated(self, event: Event) -> Event | None:
        """Return an event without what newer ones have written since it was put off; None if nothing is left of it."""
        since = self._since.get(_identity(event))
        if since is None:
            return event
        outdated = {name for name in _written_by(event) if self._sent.get(name, 0) > since}
        if event.kind != "tags":
            return None if outdated else event
        content = {key: value for key, value in event.content.items() if (event.run_key, key) not in outdated}
        return replace(event, content=content) if content else None


def _written_by(event: Event) -> list[tuple[str, str]]:
    """Return what an event overwrites: a file, tags, the run's status. Metrics and parameters overwrite nothing."""
    match event.kind:
        case "artifact":
            return [(event.run_key, f"file {event.content['name']}")]
        case "tags":
            return [(event.run_key, key) for key in event.content]
        case "open" | "close":
            return [(event.run_key, "status of the run")]
    return []


def _identity(event: Event) -> tuple[object, ...]:
    """Return what tells an event from others, and is the same when it is sent again."""
    return event.run_key, event.kind, event.time_ms, event.payload

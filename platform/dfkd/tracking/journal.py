"""``Journal``: every event of a search's runs on disk, in order, before anything is sent anywhere.

A line of JSON an event, binary content in files beside it, and how far it has been delivered in a file of its own.
The times are fixed here, so that an event that is sent twice is the same event: MLflow tells points apart by time.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from dfkd.tracking.lock import lock_exclusively

_log = logging.getLogger(__name__)

_NEW_STATE: Mapping[str, Any] = {"offset": 0, "runs": {}, "tracking_uri": None, "moved": False}

STATE_FILE = "delivered.json"  # of a journal's folder

EventKind = Literal["open", "params", "metrics", "image", "artifact", "dataset", "tags", "close"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing told of one run. ``content["file"]``, where present, names a payload of the journal."""

    run_key: str
    kind: EventKind
    content: Mapping[str, Any]
    time_ms: int

    @property
    def payload(self) -> str | None:
        """The path of its binary content within the journal's folder."""
        return self.content.get("file")


@dataclass(frozen=True, slots=True)
class MlflowRun:
    """A run as MLflow knows it."""

    run_id: str
    experiment_id: str


class Journal:
    """An append-only file of events; safe to write and read from several threads of the one process that holds it.

    Raises:
        BlockingIOError: another process holds it.
        ValueError: one of its files is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._payloads = self.folder / "payloads"
        self._payloads.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_file = lock_exclusively(
            self.folder / "lock",
            f"journal: another process is using '{self.folder}': the search itself, or a delivery. Wait for its end.",
        )
        self._lock = threading.Lock()
        try:
            self._open_files()
        except BaseException:
            self._lock_file.close()
            raise

    def _open_files(self) -> None:
        self.identity = self._find_identity()
        _drop_torn_line(self._events_file)
        self._num_payloads = self._find_num_payloads()
        self._state: dict[str, Any] = {**_NEW_STATE, **_read_json(self._state_file)}
        if not self._state_file.exists() and self._events_file.stat().st_size:
            self._state["moved"] = True  # somebody removed it: what was delivered is not known, and its files are gone
        self._writer = self._events_file.open("ab", buffering=0)

    def _find_identity(self) -> str:
        """Return what no other journal has, whatever the names of their folders: made with it, and kept in it."""
        file = self.folder / "identity.txt"
        if not file.exists():
            _write_whole(file, secrets.token_hex(8))
        return file.read_text()

    def _find_num_payloads(self) -> int:
        """Return the first number that no payload ever had: that of a delivered one would pass for its content."""
        numbers = [int(path.name) for path in self._payloads.iterdir()]
        with self._events_file.open("rb") as lines:
            for line in lines:
                if b'"file"' in line and (payload := Event(**json.loads(line)).payload):
                    numbers.append(int(Path(payload).parts[1]))
        return max(numbers, default=-1) + 1

    @property
    def _events_file(self) -> Path:
        return self.folder / "journal.jsonl"

    @property
    def _state_file(self) -> Path:
        return self.folder / STATE_FILE

    @property
    def set_aside_file(self) -> Path:
        """Where the events lie that MLflow refused."""
        return self.folder / "refused.jsonl"

    def append(self, run_key: str, kind: EventKind, content: Mapping[str, Any], *, time_ms: int | None = None) -> Event:
        """Write one event, now unless another time is given, and hand it to the operating system at once."""
        event = Event(run_key, kind, content, time_ms or time.time_ns() // 1_000_000)
        line = json.dumps(asdict(event)).encode() + b"\n"
        with self._lock:  # unbuffered: an event survives the death of this process, though not of the machine
            start = self._writer.tell()
            try:
                written = self._writer.write(line)
            except OSError:
                written = 0
            if written != len(line):
                self._writer.truncate(start)
                self._writer.seek(start)
                raise OSError(f"tracking: no space to write to '{self._events_file}'. Free some and use --resume.")
        return event

    def store_payload(self, name: str, content: bytes | Path) -> str:
        """Copy binary content beside the journal and return its path within the folder, which ends in ``name``."""
        with self._lock:
            number, self._num_payloads = self._num_payloads, self._num_payloads + 1
        target = self._payloads / str(number) / name
        target.parent.mkdir(parents=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            shutil.copyfile(content, target)
        return str(target.relative_to(self.folder))

    def events(self) -> Iterator[Event]:
        """Read every event ever written, delivered or not."""
        with self._events_file.open("rb") as lines:
            for line in lines:
                yield Event(**json.loads(line))

    def pending(self, limit: int) -> tuple[list[Event], int]:
        """Return the next events to deliver, at most ``limit``, and the offset after them."""
        events: list[Event] = []
        with self._lock:
            end = self._writer.tell()
        with self._events_file.open("rb") as lines:
            lines.seek(self._state["offset"])
            while len(events) < limit and lines.tell() < end:
                events.append(Event(**json.loads(lines.readline())))
            return events, lines.tell()

    def is_delivered(self) -> bool:
        """Whether nothing is left to deliver."""
        return bool(self._state["offset"] >= self._events_file.stat().st_size)

    def num_pending(self) -> int:
        """Return how many events have not been delivered."""
        with self._events_file.open("rb") as lines:
            lines.seek(self._state["offset"])
            return sum(1 for _ in lines)

    def mark_delivered(self, events: list[Event], offset: int, *, keep: set[str]) -> None:
        """Note that all before ``offset`` is delivered; their payloads go, but for those to ``keep``."""
        self._state["offset"] = offset
        self._save_state()
        for event in events:
            if event.payload is not None and event.payload not in keep:
                shutil.rmtree(self._payloads / Path(event.payload).parts[1], ignore_errors=True)

    def repeat(self, event: Event) -> None:
        """Write an event once more, after all others, to be delivered then."""
        self.append(event.run_key, event.kind, event.content, time_ms=event.time_ms)

    def set_aside(self, event: Event, reason: str) -> None:
        """Keep an event that MLflow refused where a person can read it."""
        with self.set_aside_file.open("a") as lines:
            lines.write(json.dumps(asdict(event) | {"reason": reason}) + "\n")

    def requeue_refused(self) -> None:
        """Append the events that MLflow refused once more: they may have been put right there."""
        refused, again = self.set_aside_file, self.set_aside_file.with_suffix(".requeued")
        for file in (again, refused):  # the first one is there if this was cut short before: better twice than lost
            if file.exists():
                if file == refused:
                    os.replace(refused, again)
                for line in again.read_text().splitlines():
                    event = json.loads(line)
                    event.pop("reason")
                    self.repeat(Event(**event))
                again.unlink()

    @property
    def tracking_uri(self) -> str | None:
        """The address at which the delivered events are, without credentials."""
        return self._state["tracking_uri"]  # type: ignore[no-any-return]

    def bind(self, tracking_uri: str) -> None:
        """Say where events go. At a new address everything is sent once more: the runs may or may not be there."""
        if tracking_uri == self.tracking_uri:
            return
        if self._state["offset"]:
            _log.warning(
                "'%s' was tracked at %s until now: its runs are sent to %s from their beginning, but for images and "
                "files that are there only.", self.folder, self.tracking_uri, tracking_uri,
            )  # fmt: skip
        moved = self._state["moved"] or self._state["offset"] > 0
        self._state |= {"tracking_uri": tracking_uri, "runs": {}, "offset": 0, "moved": moved}
        self._save_state()

    def is_elsewhere(self, event: Event) -> bool:
        """Whether the event's content was delivered to an earlier address, and is kept there alone."""
        return bool(self._state["moved"]) and event.payload is not None and not (self.folder / event.payload).exists()

    def run(self, run_key: str) -> MlflowRun | None:
        """Return which run of MLflow a run key means, if that is known yet."""
        found = self._state["runs"].get(run_key)
        return MlflowRun(**found) if found else None

    def note_run(self, run_key: str, run: MlflowRun) -> None:
        """Remember which run of MLflow a run key means."""
        if self.run(run_key) != run:
            self._state["runs"] = self._state["runs"] | {run_key: asdict(run)}
            self._save_state()

    def last_open(self, run_key: str) -> Event | None:
        """Return the newest event that opened the run."""
        return next((e for e in reversed(list(self.events())) if e.run_key == run_key and e.kind == "open"), None)

    def open_runs(self) -> list[str]:
        """Return the keys of the runs that were opened and not closed since, in the order of their opening."""
        return open_runs_in(self._events_file)

    def end_open_runs(self) -> int:
        """Append that every open run was killed, children first, and return how many there were."""
        open_runs = self.open_runs()
        for run_key in reversed(open_runs):
            self.append(run_key, "close", {"status": "KILLED"})
        return len(open_runs)

    def close(self) -> None:
        """Close the files and let other processes have the journal."""
        self._writer.close()
        self._lock_file.close()

    def _save_state(self) -> None:
        _write_whole(self._state_file, json.dumps(self._state))


def has_ended(events_file: Path) -> bool:
    """Return whether a journal's runs have all ended and MLflow knows it, whoever holds it: nothing is left to do."""
    if open_runs_in(events_file):
        return False
    with events_file.open("rb") as lines:
        lines.seek({**_NEW_STATE, **_read_json(events_file.with_name(STATE_FILE))}["offset"])
        return not lines.readline().endswith(b"\n")  # a line that is being written is no event yet


def open_runs_in(events_file: Path) -> list[str]:
    """Return the keys of the runs that are open in a journal's file, whoever holds it; see ``Journal.open_runs``."""
    still_open: dict[str, None] = {}
    with events_file.open("rb") as lines:
        for line in lines:
            # The others need not be parsed, and the last one may be written at this moment.
            if (b'"kind": "open"' in line or b'"kind": "close"' in line) and line.endswith(b"\n"):
                event = Event(**json.loads(line))
                if event.kind == "open":
                    still_open[event.run_key] = None
                elif event.kind == "close":
                    still_open.pop(event.run_key, None)
    return list(still_open)


def _write_whole(file: Path, text: str) -> None:
    """Write a file that is whole at any moment, the death of the machine included."""
    partial = file.with_suffix(".partial")
    with partial.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, file)


def _drop_torn_line(events_file: Path) -> None:
    """Cut off a last line that a full disk or a crash left without its end."""
    events_file.touch()
    content_end = events_file.stat().st_size
    with events_file.open("rb+") as lines:
        while content_end and not _ends_a_line(lines, content_end):
            content_end -= 1
        if lines.seek(0, os.SEEK_END) != content_end:
            _log.warning("The last event in '%s' was cut off by a crash and is dropped.", events_file)
            lines.truncate(content_end)


def _ends_a_line(lines: Any, end: int) -> bool:
    lines.seek(end - 1)
    return bool(lines.read(1) == b"\n")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"journal: '{path}' is damaged ({error}). Remove it, and all events are sent to MLflow once more, which "
            "doubles nothing."
        ) from error

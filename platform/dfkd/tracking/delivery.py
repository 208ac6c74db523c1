"""``Delivery``: one thread that empties a journal into MLflow and never makes anybody else wait."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dfkd.tracking.answers import RefusedError, is_refusal, is_temporary
from dfkd.tracking.connection import check_reachable
from dfkd.tracking.credentials import hide_credentials, without_credentials
from dfkd.tracking.journal import Event, Journal, MlflowRun
from dfkd.tracking.mlflow_store import MlflowStore
from dfkd.tracking.put_off import PutOff

_log = logging.getLogger(__name__)

EVENTS_AT_ONCE = 200
RETRY_SECONDS = (1.0, 30.0)  # doubling from the first to the second
TRIALS_BEFORE_PUTTING_OFF = 3  # of the same events by a server that does answer: one must not block all
BATCHED = ("params", "metrics", "tags")


class Delivery:
    """Sends the events of a journal in order, again and again while MLflow is away.

    Args:
        journal: held by this process; closed by this thread at its end.
        tracking_uri: where the events go.
    """

    def __init__(self, journal: Journal, tracking_uri: str) -> None:
        self._journal = journal
        self._tracking_uri, self._address = tracking_uri, without_credentials(tracking_uri)
        self._store = MlflowStore(tracking_uri)
        self._wake, self._stopping, self._abandoned = threading.Event(), threading.Event(), threading.Event()
        self._trouble: BaseException | None = None
        self._retry_delay = RETRY_SECONDS[0]
        self._refused: dict[str, str] = {}
        self._put_off = PutOff()
        journal.bind(self._address)
        self._thread = threading.Thread(target=self._run, daemon=True, name="mlflow-delivery")
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something new."""
        self._wake.set()

    def wait_for_run(self, run_key: str, *, timeout_seconds: float) -> MlflowRun:
        """Return the run of MLflow that a run key means, as soon as it exists.

        Raises:
            ConnectionError: it does not in that time.
            ValueError: MLflow refuses it.
        """
        self._wait_until(lambda: self._journal.run(run_key) or run_key in self._refused, timeout_seconds)
        if run := self._journal.run(run_key):
            return run
        if run_key in self._refused:
            raise ValueError(f"tracking: MLflow at {self._address} refuses the run: {self._refused[run_key]}")
        raise ConnectionError(
            f"tracking: MLflow at {self._address} did not take the run within {timeout_seconds:g} s: "
            f"{self._in_words(self._trouble) if self._trouble else 'no answer yet'}"
        )

    def flush(self, *, timeout_seconds: float) -> bool:
        """Wait until everything told so far is delivered; return whether it is."""
        return self._wait_until(self._journal.is_delivered, timeout_seconds)

    def stop(self, *, timeout_seconds: float) -> str | None:
        """Deliver what is left if that can be done in time, end the thread, and say what could not be delivered."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout_seconds)
        self._abandoned.set()
        self._thread.join(2.0)
        lines = []
        if num_pending := self._journal.num_pending():
            why = self._in_words(self._trouble) if self._trouble else "no time was left"
            lines.append(
                f"{num_pending} events were not delivered to MLflow at {self._address} ({why}). "
                f"They lie in {self._journal.folder}; when it answers again, run\n"
                f"  python experiments/deliver.py '{self._journal.folder}'"
            )
        if self._refused:
            lines.append(
                f"MLflow refused some events: they and its reasons are in {self._journal.set_aside_file}. Once what it "
                f"names is mended, send them with\n  python experiments/deliver.py '{self._journal.folder}'"
            )
        return "\n".join(lines) or None

    def _wait_until(self, condition: Callable[[], object], timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            if time.monotonic() > deadline or not self._thread.is_alive():
                return bool(condition())
            self._wake.set()
            time.sleep(0.02)
        return True

    def _run(self) -> None:
        try:
            self._empty_journal()
        finally:
            if self._stopping.is_set():  # else others still write to it
                self._journal.close()

    def _empty_journal(self) -> None:
        failures = 0
        while not self._abandoned.is_set():
            self._wake.clear()
            told_to_stop = self._stopping.is_set()  # before looking: between a look and this, the last events may come
            try:
                events, offset = self._journal.pending(EVENTS_AT_ONCE)
                if events:
                    self._deliver_all(events, offset, insist=failures < TRIALS_BEFORE_PUTTING_OFF)
            except Exception as error:
                failures = self._note_trouble(error, failures)
                continue
            failures = 0
            if not self._put_off:
                self._note_recovery()
            if events:
                continue
            if told_to_stop:
                return
            self._wake.wait()

    def _deliver_all(self, events: list[Event], offset: int, *, insist: bool) -> None:
        """Send events and note it. What was refused or put off is written down once, when nothing is tried again."""
        left = _Left()
        self._deliver(events, left, insist=insist)
        for event, reason in left.refused:
            self._journal.set_aside(event, reason)
        for event in left.put_off:
            self._journal.repeat(event)
        kept = {event.payload for event, _ in left.refused} | {event.payload for event in left.put_off}
        self._journal.mark_delivered(events, offset, keep={payload for payload in kept if payload})

    def _deliver(self, events: list[Event], left: _Left, *, insist: bool) -> None:
        """Send events, and raise if MLflow itself is in trouble.

        What MLflow refuses is set aside. What fails for another reason at a server that answers, as a file does while
        its store of artifacts is away, comes last again, so that the rest need not wait; but for the opening of a run.

        Args:
            events: in order.
            left: takes what was refused or is put off.
            insist: raise for any failure that is no refusal, for all of them to be tried again in order.
        """
        for step in steps(events):
            try:
                self._send(step)
            except Exception as error:
                if not is_refusal(error) and (insist or is_temporary(error) or not self._store.answers()):
                    raise
                if len(step) > 1:  # find the one at fault
                    for event in step:
                        self._deliver([event], left, insist=insist)
                elif is_refusal(error):
                    left.refused.append((step[0], self._note_refusal(step[0], error)))
                    self._put_off.discard(step[0])
                elif step[0].kind == "open":
                    raise
                else:
                    left.put_off.append(step[0])
                    self._put_off.add(step[0])
            else:
                self._put_off.note_sent(step)

    def _send(self, step: list[Event]) -> None:
        step = [event for event in map(self._put_off.without_outdated, step) if event is not None]
        if not step:
            return
        first = step[0]
        if first.kind == "open":
            self._open(first)
            return
        if self._journal.is_elsewhere(first):
            return
        run_id = self._run_of(first.run_key).run_id
        match first.kind:
            case "image":
                self._store.log_image(run_id, first, self._journal.folder)
            case "artifact":
                self._store.log_artifact(run_id, first, self._journal.folder)
            case "dataset":
                self._store.log_dataset(run_id, first)
            case "close":
                self._store.close_run(run_id, first)
            case _:
                self._store.log_batch(run_id, step)

    def _open(self, event: Event) -> MlflowRun:
        parent_key = event.content["parent_key"]
        parent = self._run_of(parent_key) if parent_key else None
        run = self._store.open_run(event, journal_id=self._journal.identity, parent=parent)
        self._journal.note_run(event.run_key, run)
        return run

    def _run_of(self, run_key: str) -> MlflowRun:
        if run := self._journal.run(run_key):
            return run
        event = self._journal.last_open(run_key)  # delivered elsewhere before, or its opening was refused
        if event is None:
            raise RefusedError(f"no run '{run_key}' was ever opened")
        return self._open(event)

    def _note_refusal(self, event: Event, error: BaseException) -> str:
        """Say once a run that MLflow refuses something of it, and return its reason."""
        if event.run_key not in self._refused:
            _log.warning(
                "MLflow at %s refuses %s of the run '%s' (%s). Refused events are kept in %s.",
                self._address, event.kind, event.run_key, self._in_words(error), self._journal.set_aside_file,
            )  # fmt: skip
        self._refused.setdefault(event.run_key, self._in_words(error))
        return hide_credentials(str(error), self._tracking_uri)

    def _in_words(self, error: BaseException) -> str:
        """Return an error in one line that may be shown."""
        words = " ".join(hide_credentials(str(error), self._tracking_uri).split())
        return words[:300] or type(error).__name__

    def _note_trouble(self, error: BaseException, failures: int) -> int:
        """Warn once, wait, and return how often the same events have failed at a server that answers."""
        if self._trouble is None:
            _log.warning(
                "MLflow at %s does not take events now (%s). The run goes on; they are kept in %s and sent later.",
                self._address, self._in_words(error), self._journal.folder,
            )  # fmt: skip
        self._trouble = error
        if self._stopping.is_set():
            self._abandoned.wait(RETRY_SECONDS[0])
        else:
            self._stopping.wait(self._retry_delay)
            self._retry_delay = min(2 * self._retry_delay, RETRY_SECONDS[1])
        return failures + 1 if self._store.answers() and not is_temporary(error) else failures

    def _note_recovery(self) -> None:
        if self._trouble is not None:
            _log.warning("MLflow at %s takes events again.", self._address)
            self._trouble = None
            self._retry_delay = RETRY_SECONDS[0]


@dataclass(slots=True)
class _Left:
    """What of some events did not go."""

    refused: list[tuple[Event, str]] = field(default_factory=list)  # with MLflow's reason
    put_off: list[Event] = field(default_factory=list)


def steps(events: list[Event]) -> list[list[Event]]:
    """Group events into requests: those of a run stay in order, and its parameters, metrics and tags share one."""
    runs: dict[str, list[list[Event]]] = {}
    for event in events:
        requests = runs.setdefault(event.run_key, [])
        if event.kind in BATCHED and requests and requests[-1][0].kind in BATCHED:
            requests[-1].append(event)
        else:
            requests.append([event])
    return [request for requests in runs.values() for request in requests]


def deliver_journal(folder: Path, *, tracking_uri: str | None = None, timeout_seconds: float = 600.0) -> str | None:
    """Deliver what a search left in its journal, and end the runs that it left open as killed.

    Args:
        folder: a journal's, as the search named it.
        tracking_uri: None for the address that the search used.
        timeout_seconds: after which to give up.

    Returns:
        None if all is delivered, else what is not.

    Raises:
        ConnectionError: MLflow does not answer.
        BlockingIOError: the search is still running.
        ValueError: there is no journal, or its address must be given again because it holds a password.
    """
    if not (folder / "journal.jsonl").is_file():
        raise ValueError(f"deliver: expected the folder of a journal (with journal.jsonl in it), got '{folder}'.")
    journal = Journal(folder)
    try:
        uri = tracking_uri or journal.tracking_uri
        if uri is None or "***" in uri:
            raise ValueError(f"deliver: the journal belongs to {uri}; give the complete address with --tracking-uri.")
        check_reachable(uri)
        journal.requeue_refused()
        journal.end_open_runs()
        delivery = Delivery(journal, uri)
    except BaseException:
        journal.close()
        raise
    return delivery.stop(timeout_seconds=timeout_seconds)

"""``MlflowTracking``: the runs of one search in MLflow, a parent and its children, each a ``Tracker``."""

from __future__ import annotations

import getpass
import hashlib
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from dfkd.tracking.abandoned import end_abandoned_runs
from dfkd.tracking.connection import TRAINING_PAGES, ui_address
from dfkd.tracking.delivery import Delivery
from dfkd.tracking.home import artifact_location
from dfkd.tracking.journal import Journal, MlflowRun
from dfkd.tracking.protocol import DatasetInput, RunStatus, Tracker

START_SECONDS = 15.0  # for the parent run to appear in MLflow
NEVER_AGAIN = ("time/", "system/")  # how metrics begin that no repetition gives again
DESCRIPTION_LENGTH = 8000  # characters that MLflow (3.17) takes in a tag


class MlflowTracking:
    """Opens and ends the runs of one search; what they are told goes to a journal, and from there to MLflow.

    Args:
        tracking_uri: where MLflow is; see ``home.resolve_tracking_uri`` and ``connection.check_reachable``.
        home: the journal lies in ``<home>/tracking/<search_id>``, the files of a local store in ``<home>/artifacts``.
        search_id: names the search for ever: one that goes on under the same name finds its own runs again.

    Raises:
        BlockingIOError: another process is running this search.
        ValueError: a search_id that cannot be a folder's name.
    """

    def __init__(self, tracking_uri: str, home: Path, search_id: str) -> None:
        _check_key("search_id", search_id, r"[\w.-]+")
        self._tracking_uri, self._home, self._search_id = tracking_uri, home, search_id
        self._journal = Journal(home / "tracking" / search_id)
        try:
            self._delivery = Delivery(self._journal, tracking_uri)
        except BaseException:
            self._journal.close()
            raise
        self._open_runs = dict.fromkeys(self._journal.open_runs())  # left by a process that died, or opened here
        self._known_runs = {event.run_key for event in self._journal.events()}
        self._experiment_name = ""

    @property
    def journal_folder(self) -> Path:
        """Where every event lies that was told to this search's runs."""
        return self._journal.folder

    @property
    def parent_run_id(self) -> str:
        """MLflow's identifier of the parent run."""
        return self._delivery.wait_for_run(self._search_id, timeout_seconds=START_SECONDS).run_id

    def open_parent(self, experiment_name: str, run_name: str, tags: Mapping[str, str]) -> Tracker:
        """Open the run of the search itself and wait until MLflow has it: a search does not start without.

        Raises:
            ConnectionError: MLflow does not take it in time.
            ValueError: MLflow refuses it.
        """
        self._experiment_name = experiment_name
        tracker = self._open(self._search_id, run_name, tags, parent_key=None)
        self._delivery.wait_for_run(self._search_id, timeout_seconds=START_SECONDS)
        return tracker

    def open_child(self, run_key: str, run_name: str, tags: Mapping[str, str]) -> Tracker:
        """Open the run of a trial, or open it again: the same ``run_key`` is the same run. Never waits."""
        _check_key("run_key", run_key, r"[\w./:-]+")
        assert self._experiment_name, "open_parent comes first"
        return self._open(f"{self._search_id}/{run_key}", run_name, tags, parent_key=self._search_id)

    def run_url(self, run_key: str | None = None) -> str:
        """Return the address of a run's page, the parent's by default (for a local store: under ``ui_command``)."""
        key = self._search_id if run_key is None else f"{self._search_id}/{run_key}"
        run = self._delivery.wait_for_run(key, timeout_seconds=START_SECONDS)
        return f"{ui_address(self._tracking_uri)}/{_page_of(run)}"

    def link_to(self, run_key: str) -> str | None:
        """Return a link to a run's page from another one's description; None while MLflow does not know the run."""
        run = self._journal.run(f"{self._search_id}/{run_key}")
        return _page_of(run) if run else None

    def flush(self, *, timeout_seconds: float = 60.0) -> bool:
        """Wait until MLflow has everything told so far, and return whether it has."""
        return self._delivery.flush(timeout_seconds=timeout_seconds)

    def close(self, *, unfinished: RunStatus = "KILLED", timeout_seconds: float = 60.0) -> str | None:
        """End every run that is still open, children first, and deliver what is left.

        Args:
            unfinished: the status of those runs.
            timeout_seconds: how long to try; the rest stays in the journal.

        Returns:
            None if all is delivered; else where the rest lies and the command that delivers it.
        """
        for run_key in reversed(list(self._open_runs)):
            self.note_closed(run_key)
            self._journal.append(run_key, "close", {"status": unfinished})
        return self._delivery.stop(timeout_seconds=timeout_seconds)

    def note_closed(self, run_key: str) -> bool:
        """Note that a run has ended, and return whether it was open."""
        was_open = run_key in self._open_runs
        self._open_runs.pop(run_key, None)
        return was_open

    def __enter__(self) -> Self:
        """End what killed commands left open in this home, and return itself."""
        for line in end_abandoned_runs(self._home, self._tracking_uri):
            print(line, file=sys.stderr)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; runs that an error left open have failed, those that an interrupt left open were killed."""
        failed = kind is not None and issubclass(kind, Exception)
        if message := self.close(unfinished="FAILED" if failed else "KILLED"):
            print(message, file=sys.stderr)

    def _open(self, key: str, run_name: str, tags: Mapping[str, str], *, parent_key: str | None) -> Tracker:
        tracker = RunTracker(key, journal=self._journal, delivery=self._delivery, tracking=self)
        if key in self._known_runs:
            tracker.recall()
        self._known_runs.add(key)
        self._open_runs[key] = None
        content = {
            "experiment": self._experiment_name,
            "artifact_location": artifact_location(self._tracking_uri, home=self._home),
            "run_name": run_name,
            "tags": {**_origin_tags(), "dfkd.search_id": self._search_id, **tags},
            "parent_key": parent_key,
        }
        self._journal.append(key, "open", content)
        self._delivery.wake()
        return tracker


class RunTracker:
    """A ``Tracker`` of one run. What the run was told before, in this process or an earlier one, is not told twice."""

    def __init__(self, run_key: str, *, journal: Journal, delivery: Delivery, tracking: MlflowTracking) -> None:
        self._run_key, self._journal, self._delivery, self._tracking = run_key, journal, delivery, tracking
        self._params: set[str] = set()
        self._points: dict[tuple[str, int], float] = {}
        self._image_times: dict[tuple[str, int], int] = {}

    def recall(self) -> None:
        """Read in the journal what this run was told before."""
        for event in self._journal.events():
            if event.run_key == self._run_key and event.kind == "params":
                self._params |= set(event.content)
            elif event.run_key == self._run_key and event.kind == "metrics":
                self._points |= {(key, event.content["step"]): v for key, v in event.content["values"].items()}
            elif event.run_key == self._run_key and event.kind == "image":
                self._image_times[event.content["key"], event.content["step"]] = event.time_ms

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record settings; the first value stays, as when a search goes on under another commit."""
        new = {key: str(value) for key, value in params.items() if key not in self._params}
        if new:
            self._params |= set(new)
            self._tell("params", new)

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Record numbers of one step; a trial that repeats an epoch after a failure does not double its points.

        It gives the same numbers again, but for its times: of those the first stay.
        """
        values = {key: float(value) for key, value in metrics.items()}
        new = {key: value for key, value in values.items() if self._is_new(key, step, value)}
        if new:
            self._points |= {(key, step): value for key, value in new.items()}
            self._tell("metrics", {"values": new, "step": int(step)})

    def _is_new(self, key: str, step: int, value: float) -> bool:
        if key.startswith(NEVER_AGAIN):
            return (key, step) not in self._points
        return repr(self._points.get((key, step))) != repr(value)  # NaN is NaN here

    def log_image(self, key: str, png: bytes, *, step: int) -> None:
        """Record one picture of a series; one of the same key and step takes the place of the first."""
        _check_key("key", key, r"[\w./ -]+")
        if not png.startswith(b"\x89PNG\r\n\x1a\n"):
            raise ValueError(f"log_image: expected the bytes of a PNG file for '{key}', got {png[:8]!r}...")
        time_ms = self._image_times.setdefault((key, step), time.time_ns() // 1_000_000)
        number = hashlib.sha256(f"{self._run_key}\n{key}\n{step}".encode()).hexdigest()[:32]
        name = f"{key.replace('/', '~')}+step+{step}+timestamp+{time_ms}+{number}.png"  # MLflow's, see MlflowStore
        file = self._journal.store_payload(name, png)
        self._tell("image", {"key": key, "step": int(step), "file": file}, time_ms=time_ms)

    def log_artifact(self, name: str, content: bytes | Path) -> None:
        """Record a file; see ``Tracker``."""
        if Path(name).is_absolute() or ".." in Path(name).parts or not Path(name).name:
            raise ValueError(f"log_artifact: expected a relative file name such as 'plots/history.html', got '{name}'.")
        self._tell("artifact", {"name": name, "file": self._journal.store_payload(Path(name).name, content)})

    def log_dataset(self, dataset: DatasetInput) -> None:
        """Record what images the run used; see ``Tracker``."""
        self._tell("dataset", asdict(dataset))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or overwrite tags; see ``Tracker``."""
        self._tell("tags", {key: str(value) for key, value in tags.items()})

    def set_description(self, markdown: str) -> None:
        """Set the text on top of the run's page, cut where MLflow would refuse it."""
        cut = markdown if len(markdown) <= DESCRIPTION_LENGTH else markdown[: DESCRIPTION_LENGTH - 2] + "\n…"
        self._tell("tags", {"mlflow.note.content": cut})

    def close(self, status: RunStatus) -> None:
        """End the run; a second end changes nothing."""
        if self._tracking.note_closed(self._run_key):
            self._tell("close", {"status": status})

    def _tell(self, kind: str, content: Mapping[str, object], *, time_ms: int | None = None) -> None:
        self._journal.append(self._run_key, kind, content, time_ms=time_ms)  # type: ignore[arg-type]
        self._delivery.wake()


def _page_of(run: MlflowRun) -> str:
    return f"#/experiments/{run.experiment_id}/runs/{run.run_id}{TRAINING_PAGES}"


def _origin_tags() -> dict[str, str]:
    """Return who started this and with what script, under the names that MLflow's run table shows."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        user = "unknown"
    return {"mlflow.user": user, "mlflow.source.name": Path(sys.argv[0]).name, "mlflow.source.type": "LOCAL"}


def _check_key(name: str, value: str, pattern: str) -> None:
    if not re.fullmatch(pattern, value):
        raise ValueError(f"{name}: expected characters of {pattern}, got {value!r}.")

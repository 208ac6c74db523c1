"""The folder of one search, and which search a command goes on with."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfkd.jobs.surroundings import default_storage
from dfkd.search.space import SearchSpace
from dfkd.settings.identity import to_dict
from dfkd.tracking.lock import lock_exclusively

#: Where checkpoints go without ``--storage``: remembered in words, since a home may be moved.
HOME_STORAGE = "the search's own folder"
#: A fact of a sensitive search that has ended: its checkpoints are being removed (``REMOVING``), or were (``REMOVED``).
NO_CHECKPOINTS, REMOVING, REMOVED = "checkpoints_removed", "begun", "ended"
TRIAL_RECORDS = "trial_records"  # in the folder of a search


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchFolder:
    """Where a search keeps its study, records and checkpoints.

    Attributes:
        path: ``<home>/searches/<id>``.
        search_id: name of the search, when it began, and a random part.
    """

    path: Path
    search_id: str

    def facts(self) -> dict[str, Any]:
        """Return what ``search.json`` remembers."""
        facts: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}
        if (judged := facts.pop("judged", None)) is not None:  # earlier versions kept the last chosen student's alone
            facts.setdefault("judgements", {judged.pop("key"): judged})
        if (registered := facts.pop("registered", None)) is not None:
            facts.setdefault("registrations", {registered["key"]: registered["model"]})
        return facts

    def note(self, **facts: Any) -> None:
        """Remember facts of the search in ``search.json``."""
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(self.facts() | facts, indent=1, default=str))
        os.replace(partial, self._file)

    def pin(self, **facts: str) -> None:
        """Remember what must stay as it is for as long as the search goes on.

        Raises:
            ValueError: it is not what it was when the search began.
        """
        self.check_pinned(**facts)
        self.note(**facts)

    def check_pinned(self, **facts: str) -> None:
        """Raise ValueError if ``pin`` would."""
        known = self.facts()
        for name, value in facts.items():
            if known.get(name, value) != value:
                raise ValueError(
                    f"--resume: '{self.search_id}' was run with {name.replace('_', ' ')} '{known[name]}', and now it "
                    f"is '{value}', which does not go with the trials that it has. Go back to what it was, or leave "
                    "--resume out to search anew."
                )

    @property
    def home(self) -> Path:
        """The home that it lies in."""
        return self.path.parents[1]

    @property
    def shared_storage(self) -> str | None:
        """Where checkpoints of this search lie that all nodes can reach; None in its own folder, or before it began."""
        storage: str | None = self.facts().get("storage")
        return None if storage == HOME_STORAGE else storage

    @property
    def _file(self) -> Path:
        return self.path / "search.json"


@contextmanager
def only_search(home: Path, name: str) -> Iterator[None]:
    """Keep other processes from a search of this name in this home for as long as the block runs.

    Raises:
        BlockingIOError: another process is at one, with who that is.
    """
    (folder := home / "locks").mkdir(exist_ok=True)
    lock = lock_exclusively(
        folder / f"{name}.lock",
        f"search '{name}': another process runs one of this name in '{home}'. Wait for its end, or give another name "
        "or --home.",
    )
    try:
        yield
    finally:
        lock.close()


def storage_for(given: str | None, earlier: SearchFolder | None) -> str | None:
    """Return the storage that all nodes share of a search: as given, where it began, or as the environment says.

    None keeps checkpoints in the search's own folder. What the environment says is for searches that begin.
    """
    return given or (earlier.shared_storage if earlier else default_storage())


def find_search_folder(home: Path, space: SearchSpace) -> SearchFolder:
    """Return the folder of the newest search of this space, to go on with it.

    One that ended before its first trial hides none that has trials.

    Raises:
        ValueError: there is none, or nothing of it is left to do.
    """
    searches, name = home / "searches", space.settings.name
    empty: SearchFolder | None = None
    for path in sorted(searches.glob(f"{name}-*"), reverse=True):
        folder = SearchFolder(path=path, search_id=path.name)
        facts = folder.facts()
        if facts.get("space_key") != space.key or facts["space"]["name"] != name:  # "a-b-..." begins with "a-" too
            continue
        if facts.get(NO_CHECKPOINTS) and empty is None:
            places = f"'{folder.shared_storage or path}' and '{home / 'probe_sets'}'"
            removed = (
                "its checkpoints were removed"
                if facts[NO_CHECKPOINTS] == REMOVED
                else f"its checkpoints should have been removed, which FAILED: remove {places} yourself, for synthetic "
                "images lie in them"
            )
            raise ValueError(
                f"--resume: '{folder.search_id}' has ended, its student is {facts['student']}, and as its profile is "
                f"sensitive {removed}. Leave --resume out to search anew."
            )
        if facts.get("finished_trials", -1) >= space.settings.trials and empty is None:
            raise ValueError(
                f"--resume: '{folder.search_id}' has run its {facts['finished_trials']} trials, and its student is "
                f"{facts['student']}. Give more with --trials, or leave --resume out to search anew."
            )
        if any((path / TRIAL_RECORDS).glob("*")) and facts.get("finished_trials", -1) < space.settings.trials:
            return folder
        empty = empty or folder
    if empty is not None:
        return empty
    raise ValueError(
        f"--resume: found no earlier search '{name}' with these settings under '{searches}'. "
        "Leave --resume out to start one; a search whose ranges or fixed part changed is another search."
    )


def new_search_folder(home: Path, space: SearchSpace) -> SearchFolder:
    """Return a new folder, named after the search and now; no two are the same, even of one second."""
    search_id = f"{space.settings.name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    path = home / "searches" / search_id
    path.mkdir(parents=True)
    folder = SearchFolder(path=path, search_id=search_id)
    folder.note(space_key=space.key, space=to_dict(space.told.settings), where=space.where)
    return folder

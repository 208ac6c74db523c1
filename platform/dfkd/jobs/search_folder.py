"""The folder of one search, and which search a command goes on with."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfkd.search.space import SearchSpace
from dfkd.settings.identity import to_dict


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchFolder:
    """Where a search keeps its study, records and checkpoints.

    Attributes:
        path: ``<home>/searches/<id>``.
        search_id: name of the search and when it began.
    """

    path: Path
    search_id: str

    def note(self, **facts: Any) -> None:
        """Remember facts of the search in ``search.json``."""
        file = self.path / "search.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(known | facts, indent=1, default=str))
        os.replace(partial, file)


def open_search_folder(home: Path, space: SearchSpace, *, resume: bool) -> SearchFolder:
    """Return a new folder, or with ``resume`` that of the newest search of this space.

    Raises:
        ValueError: there is nothing to resume.
    """
    searches = home / "searches"
    if resume:
        for folder in sorted(searches.glob(f"{space.settings.name}-*"), reverse=True):
            file = folder / "search.json"
            if file.exists() and json.loads(file.read_text()).get("space_key") == space.key:
                return SearchFolder(path=folder, search_id=folder.name)
        raise ValueError(
            f"--resume: found no earlier search '{space.settings.name}' with these settings under '{searches}'. "
            "Leave --resume out to start one; a search whose ranges or fixed part changed is another search."
        )
    search_id = f"{space.settings.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = searches / search_id
    folder.mkdir(parents=True)
    opened = SearchFolder(path=folder, search_id=search_id)
    opened.note(space_key=space.key, space=to_dict(space.settings), where=space.where, state="running")
    return opened

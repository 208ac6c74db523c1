"""What a command does first: read and check a search space, before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dfkd.search.space import SearchSpace, load_search_space


def load_space(path: str, overrides: Iterable[str], *, trials: int | None = None) -> SearchSpace:
    """Return a checked search space.

    Args:
        path: a YAML file.
        overrides: ``path=value`` into its fixed part.
        trials: number of trials, in place of the file's.

    Raises:
        ValueError: with every problem of the file.
    """
    space = load_search_space(path, overrides)
    return space if trials is None else replace(space, settings=replace(space.settings, trials=trials))

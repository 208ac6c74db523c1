"""What a command does first: read and check a search space, before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dfkd.config import SettingsError
from dfkd.search.space import CHECK_WORKERS, SearchSpace, load_search_space


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
    if trials is not None:
        space = replace(space, settings=replace(space.settings, trials=trials))
    if space.settings.trials <= space.reserved_trials:
        problem = (
            f"trials: {space.reserved_trials} of {space.settings.trials} run the default settings with {CHECK_WORKERS} "
            f"workers or other seeds, for comparison, and leave none to search. Give at least "
            f"{space.reserved_trials + 1}, or leave them out with `workers_check: false` and `seed_repeats: 0`."
        )
        raise SettingsError(space.where, [problem])
    if space.checks_workers:
        _check_two_workers(space)
    return space


def _check_two_workers(space: SearchSpace) -> None:
    """Raise SettingsError unless two workers can share the batches."""
    try:
        replace(space.resolve({}), workers=CHECK_WORKERS)
    except ValueError as error:
        problem = f"experiment.{error} The check with two workers is left out with `workers_check: false`."
        raise SettingsError(space.where, [problem]) from None

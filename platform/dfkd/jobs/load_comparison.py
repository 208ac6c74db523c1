"""What ``experiments/compare.py`` does first: read and check a comparison and its folder, before anything heavy."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

from dfkd.comparison.results import ResultsFolder, tuned_values
from dfkd.config import SettingsError
from dfkd.config.comparison import Comparison, load_comparison
from dfkd.jobs.comparison_options import ComparisonOptions
from dfkd.search.tuning_ranges import check_ranges
from dfkd.settings.checks import check_at_least, check_choice
from dfkd.settings.comparison import COLUMNS
from dfkd.settings.search import Scalar


def prepare_comparison(
    path: str, overrides: Iterable[str], options: ComparisonOptions, *, to_tune: bool = False
) -> Comparison:
    """Return a checked comparison with the tuned values that there are.

    Args:
        path: a YAML file.
        overrides: ``path=value`` of the command line.
        options: the rest of it.
        to_tune: whether tuned values are about to be searched.

    Raises:
        ValueError: the file, the results folder or an option is wrong.
    """
    comparison = load_comparison(path, overrides)
    check_ranges(comparison)
    _check_options(comparison, options)
    folder = ResultsFolder(options.results)
    comparison = dataclasses.replace(comparison, tuned=_tuned_values(comparison, folder))
    if to_tune and comparison.settings.tuning is None:
        raise SettingsError(path, ["tuning: is missing; --tune needs its teacher, seeds and number of trials."])
    folder.check(comparison)
    if not to_tune and "tuned" in (options.columns or COLUMNS):
        _require_tuned(comparison, options.only or comparison.tuned_rows)
    return comparison


def _require_tuned(comparison: Comparison, rows: Iterable[str]) -> None:
    for row in rows:
        if row in comparison.tuned_rows and row not in comparison.tuned:
            raise SettingsError(
                comparison.where,
                [f"methods.{row}: has no tuned values yet. Run the same command with --tune, or --columns preset."],
            )


def _tuned_values(comparison: Comparison, folder: ResultsFolder) -> dict[str, dict[str, Scalar]]:
    """Return the searched values by row, of this comparison or of the one that it names."""
    if comparison.settings.tuned_values is None:
        return tuned_values(folder.tuned())
    file = Path(comparison.where).parent / comparison.settings.tuned_values
    if not file.exists():
        raise SettingsError(comparison.where, [f"tuned_values: '{file}' does not exist. Run that comparison's --tune."])
    return tuned_values(json.loads(file.read_text()))


def _check_options(comparison: Comparison, options: ComparisonOptions) -> None:
    for column in options.columns:
        check_choice("--columns", column, COLUMNS)
    for row in options.only:
        check_choice("--only", row, tuple(comparison.settings.methods))
    if options.at_once is not None:
        check_at_least("--at-once", options.at_once, 1)
        if options.at_once > 1 and comparison.settings.budget.unit == "seconds":
            raise ValueError("--at-once: runs with a budget in seconds go alone on the machine; take it out.")

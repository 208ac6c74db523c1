"""The ranges of a comparison's rows, checked before anything heavy is loaded, and each row's own point in them."""

from __future__ import annotations

from collections.abc import Mapping

from dfkd.config import SettingsError, look_up, to_dict
from dfkd.config.comparison import Comparison
from dfkd.search.corners import corner_problems, default_value
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.search import Scalar


def check_ranges(comparison: Comparison) -> None:
    """Raise SettingsError unless every row's ranges are possible at every corner and hold its own values."""
    problems: list[str] = []
    for row in comparison.tuned_rows:

        def resolve(params: Mapping[str, Scalar], row: str = row) -> ExperimentSettings:
            return row_settings(comparison, row, params)

        for path, parameter in comparison.settings.methods[row].parameters.items():
            problems += [f"methods.{row}.{problem}" for problem in corner_problems(path, parameter, resolve)]
        if not problems:
            own_point(comparison, row)
    if problems:
        raise SettingsError(comparison.where, problems)


def row_settings(comparison: Comparison, row: str, params: Mapping[str, Scalar]) -> ExperimentSettings:
    """Return a row's settings at one point of its ranges, on the first pair, before they are scaled to a budget."""
    settings = comparison.settings
    return comparison.resolve(
        row, pair=comparison.pairs[0], teacher=settings.teachers[0], seed=settings.seeds[0], params=params
    )


def own_point(comparison: Comparison, row: str) -> dict[str, Scalar]:
    """Return the row's own values at each searched path: the first trial.

    Raises:
        SettingsError: one lies outside its range.
    """
    plain = to_dict(row_settings(comparison, row, {}))
    point: dict[str, Scalar] = {}
    for path, parameter in comparison.settings.methods[row].parameters.items():
        try:
            point[path] = default_value(parameter, look_up(plain, path))
        except ValueError as error:
            raise SettingsError(comparison.where, [f"methods.{row}.parameters.{path}: {error}"]) from None
    return point

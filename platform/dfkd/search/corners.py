"""One searched parameter before the search: values that show whether its range is possible, and its default."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dfkd.config import SettingsError
from dfkd.settings.search import CategoricalChoices, IntegerRange, ParameterRange, Scalar

_INSIDE = 0.381966  # of a continuous range: a point that is no whole number, for settings that need one


def corners(parameter: ParameterRange) -> tuple[Scalar, ...]:
    """Return both ends of a range and points inside it, or every choice.

    Of whole numbers two are neighbours: a number of images that must split over workers cannot be both.
    """
    if isinstance(parameter, CategoricalChoices):
        return parameter.choices
    if isinstance(parameter, IntegerRange):
        return (
            parameter.low,
            parameter.high,
            (parameter.low + parameter.high) // 2,
            min(parameter.low + 1, parameter.high),
        )
    return parameter.low, parameter.high, parameter.low + _INSIDE * (parameter.high - parameter.low)


def corner_problems(
    path: str, parameter: ParameterRange, resolve: Callable[[Mapping[str, Scalar]], object]
) -> list[str]:
    """Return what is wrong with the experiment when this parameter alone is moved to each of its corners."""
    problems: dict[str, str] = {}
    for value in corners(parameter):
        try:
            resolve({path: value})
        except SettingsError as error:
            for problem in error.problems:
                located = _located(problem, path, value)
                # A part of the path is wrong at every corner alike and told once; a value is wrong on its own.
                key = problem.split(":")[0] if _names_part_of(path, problem) else located
                problems.setdefault(key, located)
    return list(problems.values())


def _names_part_of(path: str, problem: str) -> bool:
    """Whether the problem is of something above the parameter, not of its value."""
    return f"{path}.".startswith(f"{problem.split(':')[0]}.") and not problem.startswith(f"{path}:")


def _located(problem: str, path: str, value: Scalar) -> str:
    """Return a problem of the experiment as one of the parameter that caused it."""
    if problem.startswith(f"{path}:") or _names_part_of(path, problem):
        located = f"parameters.{problem}"
    else:
        located = f"parameters.{path} = {value!r}: {problem}"
    return f"{located} Use 'type: integer'." if "a whole number" in problem and isinstance(value, float) else located


def default_value(parameter: ParameterRange, value: object) -> Scalar:
    """Return the default as a value of the parameter's own type.

    Raises:
        ValueError: it lies outside the range or is none of the choices.
    """
    if isinstance(parameter, CategoricalChoices):
        for choice in parameter.choices:
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                return choice
        names = ", ".join(map(repr, parameter.choices))
        raise ValueError(f"the default {value!r} is none of {names}. Add it, or set one of them in 'experiment'.")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not parameter.low <= value <= parameter.high:
        ends = f"[{parameter.low!r}, {parameter.high!r}]"
        raise ValueError(f"the default {value!r} lies outside {ends}. Widen the range, or change it in 'experiment'.")
    if not isinstance(parameter, IntegerRange):
        return float(value)
    if value != int(value):
        raise ValueError(f"the default {value!r} is no whole number. Change it in 'experiment', or the range's type.")
    return int(value)

"""Checks that settings share. Each says what was expected, what came, and where."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

LARGEST_SEED = 2**32 - 1  # of generators that take 32 bits, such as NumPy's


def did_you_mean(value: object, choices: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the choice that resembles ``value``, or an empty string."""
    close = difflib.get_close_matches(str(value), list(choices), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name}: {value!r} is unknown.{did_you_mean(value, choices)} Valid: {', '.join(choices)}.")


def check_at_least(name: str, value: float, minimum: float) -> None:
    """Raise ValueError unless ``value`` is finite and at least ``minimum``."""
    if not (math.isfinite(value) and value >= minimum):
        raise ValueError(f"{name}: expected a number of at least {minimum}, got {value!r}.")


def check_seed(name: str, value: int) -> None:
    """Raise ValueError unless ``value`` is a seed that every library takes."""
    if not 0 <= value <= LARGEST_SEED:
        raise ValueError(f"{name}: expected a seed from 0 to {LARGEST_SEED}, got {value!r}.")


def check_positive(name: str, value: float) -> None:
    """Raise ValueError unless ``value`` is finite and above zero."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}: expected a number above 0, got {value!r}.")


def check_fraction(name: str, value: float) -> None:
    """Raise ValueError unless ``value`` lies in [0, 1)."""
    if not (math.isfinite(value) and 0 <= value < 1):
        raise ValueError(f"{name}: expected a fraction in [0, 1), got {value!r}.")


def check_name(name: str, value: str) -> None:
    """Raise ValueError unless ``value`` can name a run, a folder and a registered model."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
        raise ValueError(
            f"{name}: expected only letters, digits, '-', '_' and '.', a letter or digit first, got {value!r}."
        )


def check_each(settings: Any, check: Any, *names: str) -> None:
    """Apply ``check(name, value)`` to several fields of a settings object."""
    for name in names:
        check(name, getattr(settings, name))


def check_distinct(name: str, values: Sequence[object]) -> None:
    """Raise ValueError if a value stands twice."""
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"{name}: {value!r} stands twice; keep one.")


def check_seeds(name: str, seeds: Sequence[int]) -> None:
    """Raise ValueError unless there are seeds, each at least 0 and once."""
    if not seeds:
        raise ValueError(f"{name}: expected at least one seed, got none.")
    for seed in seeds:
        check_seed(name, seed)
    check_distinct(name, seeds)


def check_share(name: str, value: float) -> None:
    """Raise ValueError unless ``value`` lies above 0 and not above 1."""
    if not 0 < value <= 1:
        raise ValueError(f"{name}: expected a share in (0, 1], got {value!r}.")

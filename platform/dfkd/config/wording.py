"""What a type hint expects, in a user's words."""

from __future__ import annotations

import reprlib
import types
from typing import Any, Literal, Union, get_args, get_origin

from dfkd.settings.checks import did_you_mean

_SINGLE = {int: "a whole number", float: "a number", bool: "true or false", str: "text", types.NoneType: "null"}
_PLURAL = {int: "whole numbers", float: "numbers", bool: "true or false", str: "texts", types.NoneType: "null"}


def expected_but_got(hint: Any, raw: object) -> str:
    """Return the message for a value that does not fit ``hint``: what was expected, what came, what was meant."""
    choices = _choices(hint)
    if choices and _is_choice_only(hint):
        wrong = _first_unknown(raw, choices) if get_origin(hint) is tuple else raw
        if wrong is not None:
            return unknown_choice(wrong, choices)
    meant = did_you_mean(raw, map(str, choices)) if isinstance(raw, str) else ""
    return f"expected {describe(hint)}, got {shown(raw)}.{meant}"


def unknown_choice(value: object, choices: tuple[object, ...]) -> str:
    """Return the message for a value that is none of ``choices``."""
    names = [str(choice) for choice in choices]
    return f"{value!r} is unknown.{did_you_mean(value, names)} Valid: {', '.join(names)}."


def unknown_key(key: object, valid: tuple[str, ...], *, owner: str | None) -> str:
    """Return the message for a key that no setting has; ``owner`` is e.g. "method 'cae'" where it depends on that."""
    what = f"{owner} has no setting {str(key)!r}." if owner else "unknown setting."
    return f"{what}{did_you_mean(key, valid)} Valid: {', '.join(valid)}."


def describe(hint: Any) -> str:
    """Return what a value of this type is, e.g. "a list of 2 numbers"."""
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if get_origin(hint) is tuple:
        count = "" if arguments[-1] is Ellipsis else f"{len(arguments)} "
        return f"a list of {count}{_PLURAL.get(arguments[0]) or f'values ({describe(arguments[0])})'}"
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(describe(alternative) for alternative in arguments)
    return _SINGLE.get(hint, "a mapping ('key: value' lines)")


def shown(raw: object) -> str:
    """Return a value as an error message shows it, cut if it is long."""
    if raw is None:
        return "nothing"
    return reprlib.repr(raw)


def allows_bool(hint: Any) -> bool:
    """Whether true or false is a value of this type."""
    if get_origin(hint) is Literal:
        return any(isinstance(choice, bool) for choice in get_args(hint))
    return hint in (bool, Any) or any(map(allows_bool, get_args(hint)))


def _choices(hint: Any) -> tuple[object, ...]:
    """Return the literals in a hint, at any depth."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return tuple(choice for argument in get_args(hint) for choice in _choices(argument))


def _is_choice_only(hint: Any) -> bool:
    """Whether nothing but literals (or null, or a list of them) fits."""
    if get_origin(hint) is Literal or hint is types.NoneType or hint is Ellipsis:
        return True
    return get_origin(hint) in (Union, types.UnionType, tuple) and all(map(_is_choice_only, get_args(hint)))


def _first_unknown(raw: object, choices: tuple[object, ...]) -> object | None:
    elements = raw if isinstance(raw, (list, tuple)) else ()
    return next((element for element in elements if element not in choices), None)

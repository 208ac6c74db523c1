"""Plain values -> settings dataclasses. Every mistake is found and named by its path, not only the first.

The dataclasses are walked here, so that a message knows the settings that exist; pydantic converts the single values
(``"1e-3"`` for a float, a list for a tuple) and refuses what does not fit.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from dfkd.config.type_hints import (
    allows_none,
    dataclass_members,
    field_default,
    field_hints,
    member_of,
    tag_name,
    tags,
)
from dfkd.config.wording import allows_bool, describe, expected_but_got, shown, unknown_choice, unknown_key
from dfkd.settings.experiment import ExperimentSettings

Settings = TypeVar("Settings")
#: Keys beside a class's own, which were put in the place of others before they come here.
_ALSO: dict[type, tuple[str, ...]] = {ExperimentSettings: ("schedule",)}
_INVALID: Any = object()  # stands for a value whose problem is already listed


class SettingsError(ValueError):
    """Every problem of one source of settings.

    Attributes:
        where: the source, e.g. the file.
        problems: each as ``path.to.key: what is wrong``, without repeats.
    """

    def __init__(self, where: str, problems: Iterable[str]) -> None:
        """Keep the problems in order."""
        self.where = where
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__(where, self.problems)  # as arguments, so that the error can be pickled

    def __str__(self) -> str:
        """Return one line for one problem, a list for more."""
        if len(self.problems) == 1:
            return f"{self.where}: {self.problems[0]}"
        return "\n  - ".join([f"{self.where}: {len(self.problems)} problems", *self.problems])


def load_settings(cls: type[Settings], raw: object, *, where: str) -> Settings:
    """Return the settings dataclass ``cls`` that ``raw`` describes.

    Args:
        cls: a settings dataclass.
        raw: nested mappings, lists and scalars, as YAML gives them.
        where: what the message names as the source, e.g. the file.

    Raises:
        SettingsError: a key is unknown or missing, or a value does not fit; every such problem is listed.
    """
    problems: list[str] = []
    settings = _build(cls, raw, path="", problems=problems)
    if problems:
        raise SettingsError(where, problems)
    return cast(Settings, settings)


def _build(cls: type, raw: object, *, path: str, problems: list[str], owner: str | None = None) -> Any:
    """Return an instance of ``cls``, or ``_INVALID`` after listing what is wrong."""
    if not isinstance(raw, Mapping):
        problems.append(f"{path or 'settings'}: expected a mapping ('key: value' lines), got {shown(raw)}.")
        return _INVALID
    hints = field_hints(cls)
    known_problems = len(problems)
    for key in raw:
        if key not in hints:
            valid = (*hints, *_ALSO.get(cls, ()))
            problems.append(f"{_join(path, key)}: {unknown_key(key, valid, owner=owner)}")
    values = {}
    for field in dataclasses.fields(cls):
        field_path, hint = _join(path, field.name), hints[field.name]
        if field.name in raw:
            values[field.name] = _value(hint, raw[field.name], field_path, problems, field_default(field))
        elif field_default(field) is dataclasses.MISSING:
            problems.append(f"{field_path}: is missing; expected {describe(hint)}.")
    if len(problems) > known_problems:
        return _INVALID
    try:
        return cls(**values)
    except ValueError as error:  # a check of __post_init__: its message starts with the name of the field
        problems.append(_join(path, str(error)))
        return _INVALID


def _value(hint: Any, raw: object, path: str, problems: list[str], default: object) -> Any:
    """Return one field's value: a nested dataclass, one of several, a mapping of them, or a plain value."""
    members = dataclass_members(hint)
    if raw is None and allows_none(hint):
        return None
    if members:
        return _build_member(members, raw, path, problems, default)
    if get_origin(hint) is dict and isinstance(raw, Mapping) and dataclass_members(get_args(hint)[1]):
        item = get_args(hint)[1]
        return {key: _value(item, value, _join(path, key), problems, None) for key, value in raw.items()}
    try:
        if not _has_surprising_bool(hint, raw):
            return _adapter(hint).validate_python(raw)
    except ValidationError:
        pass  # reported below, in our words
    problems.append(f"{path}: {expected_but_got(hint, raw)}")
    return _INVALID


def _build_member(members: tuple[type, ...], raw: object, path: str, problems: list[str], default: object) -> Any:
    """Return an instance of the member that ``raw`` names; without a name it is the default's class."""
    if len(members) == 1 or not isinstance(raw, Mapping):
        return _build(members[0], raw, path=path, problems=problems)
    name = tag_name(members[0])
    tag = raw.get(name, getattr(default, name, None))
    member = member_of(members, tag)
    if member is not None:
        return _build(member, raw, path=path, problems=problems, owner=f"{name} '{tag}'")
    missing = name not in raw
    what = f"is missing. Valid: {', '.join(tags(members))}." if missing else unknown_choice(tag, tags(members))
    problems.append(f"{_join(path, name)}: {what}")
    return _INVALID


@functools.cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False))


def _has_surprising_bool(hint: Any, raw: object) -> bool:
    """Whether true or false stands where a number is meant, which pydantic would take as 1 or 0."""
    values = raw if isinstance(raw, (list, tuple)) else (raw,)
    return any(isinstance(value, bool) for value in values) and not allows_bool(hint)


def _join(path: str, rest: object) -> str:
    return f"{path}.{rest}" if path else str(rest)

"""The shape of settings dataclasses: their fields, and unions that are told apart by a tag.

A tag is the field ``method``, ``name`` or ``type`` of every member of a union, a Literal of a single value.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


@functools.cache
def field_hints(cls: type) -> dict[str, Any]:
    """Return the fields of a dataclass with their resolved types."""
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def field_default(field: dataclasses.Field[Any]) -> Any:
    """Return a field's default, or ``dataclasses.MISSING``."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def dataclass_members(hint: Any) -> tuple[type, ...]:
    """Return the dataclasses that a type hint allows: none, one, or the members of a union."""
    alternatives = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return tuple(member for member in alternatives if dataclasses.is_dataclass(member) and isinstance(member, type))


def allows_none(hint: Any) -> bool:
    """Whether null is a value of this type."""
    return types.NoneType in get_args(hint)


def tag_name(member: type) -> str:
    """Return the name of the field by which a member of a union is told: the first Literal of a single value."""
    for name, hint in field_hints(member).items():
        if get_origin(hint) is Literal and len(get_args(hint)) == 1:
            return name
    raise AssertionError(f"{member.__name__} has no field with a single choice, so a union cannot tell it.")


def tags(members: tuple[type, ...]) -> tuple[str, ...]:
    """Return the tag of every member of a union, in order."""
    return tuple(get_args(field_hints(member)[tag_name(member)])[0] for member in members)


def member_of(members: tuple[type, ...], tag: object) -> type | None:
    """Return the member with this tag, if there is one."""
    known = tags(members)
    return members[known.index(tag)] if isinstance(tag, str) and tag in known else None

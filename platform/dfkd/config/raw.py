"""Settings while they are still plain nested dicts: merging, dotted paths, and overrides of the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dfkd.config.yaml_reader import parse_yaml

Raw = dict[str, Any]


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> Raw:
    """Return ``base`` with the values of ``override`` on top; mappings are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in override.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def set_path(raw: Mapping[str, Any], path: str, value: Any) -> Raw:
    """Return a copy of ``raw`` in which the dotted ``path`` holds ``value``; missing mappings on the way are made.

    Raises:
        ValueError: the path has an empty part or leads through something that is no mapping.
    """
    parts = path.split(".")
    if not all(parts):
        raise ValueError(f"{path!r}: expected names joined by single dots, as in 'distillation.learning_rate'.")
    changed: Raw = dict(raw)
    level = changed
    for depth, part in enumerate(parts[:-1], start=1):
        below = level.get(part, {})
        if not isinstance(below, Mapping):
            raise ValueError(f"{path}: '{'.'.join(parts[:depth])}' is {below!r}, which holds no further settings.")
        level[part] = dict(below)
        level = level[part]
    level[parts[-1]] = value
    return changed


def look_up(raw: Mapping[str, Any], path: str) -> Any:
    """Return what stands at the dotted ``path``.

    Raises:
        KeyError: nothing stands there.
    """
    value: Any = raw
    for part in path.split("."):
        if not isinstance(value, Mapping):
            raise KeyError(path)
        value = value[part]
    return value


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``path=value`` of the command line; the value is read as in a YAML file.

    Raises:
        ValueError: there is no ``=``, the path is empty, or the value is no YAML.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise ValueError(f"--set: expected path=value, as in 'dataset.path=/data/cifar10', got {text!r}.")
    try:
        return path.strip(), parse_yaml(value, where="--set")
    except ValueError:
        raise ValueError(f"--set {path.strip()}: {value!r} is no YAML value. Quote it: {path}='\"...\"'.") from None


def apply_overrides(raw: Mapping[str, Any], overrides: Iterable[str]) -> Raw:
    """Return ``raw`` with every ``path=value`` set, in order.

    Raises:
        ValueError: an override is malformed or leads through something that is no mapping.
    """
    changed = dict(raw)
    for override in overrides:
        path, value = parse_override(override)
        try:
            changed = set_path(changed, path, value)
        except ValueError as error:
            raise ValueError(f"--set {error}") from None
    return changed

"""Settings as plain values, with and without this machine's folders, and the key that says whether two are the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

KEY_LENGTH = 16  # hexadecimal digits: 64 bits, far beyond any number of experiments
#: Settings that may hold a folder or file of one machine, or an address with a password.
PLACES = (
    ("dataset", "path"),
    ("teacher", "weights"),
    ("label_embeddings", "path"),
    ("label_embeddings", "model"),
    ("synthesis", "path"),  # of some methods
)


def to_dict(settings: Any) -> dict[str, Any]:
    """Return a settings dataclass as nested dicts, lists and scalars that JSON and YAML can hold."""
    assert dataclasses.is_dataclass(settings) and not isinstance(settings, type)
    return {field.name: _plain(getattr(settings, field.name)) for field in dataclasses.fields(settings)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def shareable(settings: Any) -> dict[str, Any]:
    """Return an experiment's settings as ``to_dict`` does, for runs, cards and result files, which travel.

    Of places on this machine only the last part stays: where they lie is nobody's business. A registry address, a name
    of a hub and a relative path stay whole.
    """
    return _without_places(to_dict(settings))


def shareable_search(settings: Any) -> dict[str, Any]:
    """Return a search's settings as ``to_dict`` does, its experiment as ``shareable`` has it, its ranges too."""
    plain = to_dict(settings)
    plain["experiment"] = _without_places(plain["experiment"])
    for place in PLACES:
        if searched := plain["parameters"].get(".".join(place)):
            searched["choices"] = [without_folder(choice) for choice in searched["choices"]]
    return plain


def _without_places(plain: dict[str, Any]) -> dict[str, Any]:
    for part, name in PLACES:
        if name in plain.get(part, {}):
            plain[part][name] = without_folder(plain[part][name])
    return plain


def without_folder(place: Any) -> Any:
    """Return the last part of a place on this machine; a name, an address and a relative path stay whole."""
    if isinstance(place, str) and (place.startswith(("/", "~", ".")) or "\\" in place or "://" in place):
        return PurePath(place.replace("\\", "/")).name
    return place


def flatten(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level of dotted paths."""
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def settings_key(settings: Any) -> str:
    """Return a short key that is equal for equal settings, in every process and on every machine.

    It is the SHA-256 of the canonical JSON (sorted keys, no spaces), cut to ``KEY_LENGTH`` hexadecimal digits.

    Args:
        settings: a settings dataclass, or what ``to_dict`` made of one.
    """
    plain = settings if isinstance(settings, dict) else to_dict(settings)
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:KEY_LENGTH]

"""Settings as plain values, and the key that says whether two settings are the same. Standard library only."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

KEY_LENGTH = 16  # hexadecimal digits: 64 bits, far beyond any number of experiments


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


def settings_key(settings: Any) -> str:
    """Return a short key that is equal for equal settings, in every process and on every machine.

    It is the SHA-256 of the canonical JSON (sorted keys, no spaces), cut to ``KEY_LENGTH`` hexadecimal digits.

    Args:
        settings: a settings dataclass, or what ``to_dict`` made of one.
    """
    plain = settings if isinstance(settings, dict) else to_dict(settings)
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:KEY_LENGTH]

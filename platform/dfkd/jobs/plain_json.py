"""Results as other programs read them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def plain_json(facts: Mapping[str, Any]) -> str:
    """Return JSON as its standard has it, which knows no NaN and no infinity: such numbers become null."""
    return json.dumps(_finite(facts), indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

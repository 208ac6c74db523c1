from __future__ import annotations

import json
import math

from dfkd.jobs.plain_json import plain_json


def test_numbers_that_are_not_finite_are_null_wherever_they_stand() -> None:
    facts = {"scores": {"a": math.nan, "b": 0.5}, "curve": [{"loss": math.inf}, (1, -math.inf)], "n": None, "t": "NaN"}
    written = plain_json(facts)
    assert "NaN" not in written.replace('"NaN"', "") and "Infinity" not in written
    assert json.loads(written) == {
        "scores": {"a": None, "b": 0.5},
        "curve": [{"loss": None}, [1, None]],
        "n": None,
        "t": "NaN",
    }

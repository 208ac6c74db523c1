from typing import Any

import pytest

from dfkd.settings.acceptance import AcceptanceSettings


def test_the_defaults_are_two_points_and_95_percent_one_sided() -> None:
    rule = AcceptanceSettings()
    assert (rule.metric, rule.margin, rule.confidence, rule.specificity) == ("accuracy", 0.02, 0.95, 0.95)
    assert set(rule.limits().values()) == {None}


@pytest.mark.parametrize(
    "values",
    [{"margin": 0}, {"margin": 1}, {"confidence": 0.5}, {"confidence": 1}, {"specificity": 1}, {"resamples": 10},
     {"minimum_sensitivity": 1.5}, {"maximum_calibration_error": -0.1}],
)  # fmt: skip
def test_a_rule_that_cannot_be_names_its_setting(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))}: expected"):
        AcceptanceSettings(**values)

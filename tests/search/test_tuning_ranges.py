from __future__ import annotations

from pathlib import Path

import pytest

from dfkd.config import SettingsError
from dfkd.config.comparison import load_comparison
from dfkd.search.tuning_ranges import check_ranges, own_point

SMOKE = Path(__file__).parents[2] / "benchmarks" / "comparisons" / "smoke.yaml"
PATH = "methods.cae.parameters"


def test_a_rows_own_values_are_its_first_point() -> None:
    comparison = load_comparison(SMOKE)
    check_ranges(comparison)
    assert own_point(comparison, "cae") == {"distillation.learning_rate": 0.1}


def test_a_range_without_the_rows_own_value_is_refused() -> None:
    comparison = load_comparison(SMOKE, [f"{PATH}={{distillation.learning_rate: {{type: uniform, low: 1, high: 2}}}}"])
    with pytest.raises(SettingsError, match=r"methods.cae.parameters.distillation.learning_rate: .*0.1"):
        check_ranges(comparison)


@pytest.mark.parametrize("path", ["synthesis.generator_stepz", "synthesis.noise.width"])
def test_a_range_over_a_setting_that_the_method_lacks_is_refused(path: str) -> None:
    comparison = load_comparison(SMOKE, [f"{PATH}={{{path}: {{type: integer, low: 1, high: 2}}}}"])
    with pytest.raises(SettingsError, match=f"methods.cae.*{path.rpartition('.')[2]}"):
        check_ranges(comparison)

from __future__ import annotations

import math

from dfkd.comparison.cells import number, percent, points, table
from dfkd.comparison.statistics import mean_interval


def test_numbers_in_words() -> None:
    assert percent(mean_interval([0.5])) == "50.00 %"
    assert percent(mean_interval([])) == "-"
    assert points(mean_interval([-0.01, -0.01])) == "-1.00 [-1.00, -1.00]"
    assert (number(math.nan, ".1f"), number(math.inf, ".1f"), number(1.25, ".1f", " %")) == ("-", "never", "1.2 %")


def test_a_cell_cannot_break_its_table() -> None:
    assert table(["a"], [["x | y"]]).splitlines()[-1] == "| x / y |"

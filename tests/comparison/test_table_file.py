from __future__ import annotations

import io

import pyarrow.parquet as pq
import pytest

from dfkd.comparison.leaderboard import Line
from dfkd.comparison.table_file import parquet
from dfkd.settings.comparison import ComparisonSettings


def test_parquet_has_a_row_a_line_with_numbers_as_numbers(found: tuple[ComparisonSettings, list[Line]]) -> None:
    rows = pq.read_table(io.BytesIO(parquet(found[1]))).to_pylist()
    assert [row["row"] for row in rows] == ["ours", "theirs", "noise"] * 2
    assert rows[0]["score"] == pytest.approx(0.71) and rows[0]["n"] == 2
    assert rows[1]["difference"] == pytest.approx(-0.08) and rows[0]["difference"] is None
    assert rows[0]["macs/total"] == 1000.0 and rows[0]["reached_0.9/runs"] == 2

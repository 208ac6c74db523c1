from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest

from dfkd.comparison.leaderboard import Line, make_leaderboard
from dfkd.comparison.results import RunResult
from dfkd.comparison.table_file import parquet
from dfkd.comparison.tables import budget_in_words, full_markdown, readme_markdown
from dfkd.settings.comparison import BudgetSettings, ComparisonSettings

Make = Callable[..., RunResult]
Settings = Callable[..., ComparisonSettings]


def test_the_page_has_a_table_for_every_budget(found: tuple[ComparisonSettings, list[Line]]) -> None:
    text = full_markdown(*found)
    assert "## 1e+03 multiply-accumulates a run" in text and "## 500 multiply-accumulates a run" in text
    assert "| Ours | preset | text | 2 | 71.00 +- 12.71 % | 88.8 % | 72.0 % | 73.0 % | - | - | - |" in text
    assert "reached 95%" in text and "Collapsed: Noise, preset (teacher 0, seed 0; teacher 0, seed 1)" in text


def test_a_readme_shows_the_largest_budget_alone(found: tuple[ComparisonSettings, list[Line]]) -> None:
    text = readme_markdown(*found)
    assert "1e+03 multiply-accumulates" in text and "500 multiply" not in text and "seconds of" not in text


def test_a_backdoor_has_a_table_where_it_was_looked_for(settings: Settings, result: Make) -> None:
    plain = make_leaderboard(settings(), [result("ours", 0, 0.7)])
    assert "Backdoor" not in full_markdown(settings(), plain)
    opens = {"success": 0.9, "without_patch": 0.01, "teacher_success": 1.0, "teacher_without_patch": 0.0}
    found = [result("ours", seed, 0.7) for seed in (0, 1)]
    poisoned = [
        dataclasses.replace(each, test=each.test | {f"backdoor/{name}": value for name, value in opens.items()})
        for each in found
    ]
    lines = make_leaderboard(settings(), poisoned)
    row = "| Ours | preset | 2 | 90.00 +- 0.00 % | 1.00 +- 0.00 % | 100.00 +- 0.00 % | 0.00 +- 0.00 % |"
    assert row in full_markdown(settings(), lines) and row in readme_markdown(settings(), lines)
    (stored,) = pq.read_table(io.BytesIO(parquet(lines))).to_pylist()
    assert stored["backdoor/success"] == pytest.approx(0.9)


def test_a_budget_in_words() -> None:
    assert budget_in_words(BudgetSettings(seconds=360.0), 0.5) == "180 seconds"

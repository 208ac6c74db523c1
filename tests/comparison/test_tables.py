from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest

from dfkd.comparison.leaderboard import Line, make_leaderboard
from dfkd.comparison.results import RunResult
from dfkd.comparison.statistics import mean_interval
from dfkd.comparison.tables import (
    budget_in_words,
    claim,
    full_markdown,
    number,
    parquet,
    percent,
    points,
    readme_markdown,
    stability,
    table,
)
from dfkd.settings.comparison import BudgetSettings, ComparisonSettings, RivalSettings, RowSettings

Make = Callable[..., RunResult]
Settings = Callable[..., ComparisonSettings]


@pytest.fixture
def found(settings: Settings, result: Make) -> tuple[ComparisonSettings, list[Line]]:
    scores = {"ours": (0.70, 0.72), "theirs": (0.60, 0.66), "noise": (0.10, 0.12)}
    made = settings(fractions=(1.0, 0.5), seeds=(0, 1), ceiling="ours", floor="noise")
    results = [
        result(row, seed, score * fraction, fraction=fraction)
        for row, values in scores.items()
        for seed, score in enumerate(values)
        for fraction in (1.0, 0.5)
    ]
    return made, make_leaderboard(made, results)


def test_the_page_has_a_table_for_every_budget(found: tuple[ComparisonSettings, list[Line]]) -> None:
    text = full_markdown(*found)
    assert "## 1e+03 multiply-accumulates a run" in text and "## 500 multiply-accumulates a run" in text
    assert "| Ours | preset | text | 2 | 71.00 +- 12.71 % | 88.8 % | 72.0 % | 73.0 % | - | - | - |" in text
    assert "reached 95%" in text and "Collapsed: Noise, preset (teacher 0, seed 0; teacher 0, seed 1)" in text


def test_a_readme_shows_the_largest_budget_alone(found: tuple[ComparisonSettings, list[Line]]) -> None:
    text = readme_markdown(*found)
    assert "1e+03 multiply-accumulates" in text and "500 multiply" not in text and "seconds of" not in text


def test_what_does_not_beat_the_floor_is_named(settings: Settings, result: Make) -> None:
    results = [result("ours", 0, 0.5), result("theirs", 0, 0.1), result("noise", 0, 0.2)]
    made = settings(floor="noise")
    assert "Not above the floor: Theirs, preset." in full_markdown(made, make_leaderboard(made, results))


def test_the_first_places_are_named_by_budget(settings: Settings, result: Make) -> None:
    half = [result("ours", 0, 0.5, fraction=0.5), result("theirs", 0, 0.6, fraction=0.5)]
    lines = make_leaderboard(settings(), [result("ours", 0, 0.7), result("theirs", 0, 0.65), *half])
    places, warm_up = stability(lines)
    assert places == "First places, preset: at 0.5 of the budget Theirs, Ours; at 1 of the budget Ours, Theirs."
    assert "At most 10% of any run's cost" in warm_up


def test_bounds_and_tuned_lines_take_no_place_among_presets(settings: Settings, result: Make) -> None:
    bound = {"warm_up": 0.0, "synthesis": 0.0, "distillation": 9.0, "total": 9.0}
    results = [result("ours", 0, 0.7), result("theirs", 0, 0.6), result("theirs", 0, 0.9, column="tuned")]
    made = settings(methods={name: RowSettings() for name in ("ours", "theirs", "ceiling")})
    ceiling = dataclasses.replace(result("ceiling", 0, 0.99), macs=bound)
    presets, tuned, _ = stability(make_leaderboard(made, [*results, ceiling]))
    assert presets == "First places, preset: at 1 of the budget Ours, Theirs."
    assert tuned == "First places, tuned: at 1 of the budget Theirs."


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


def test_the_claim_against_the_rival_is_judged_by_the_lower_end(settings: Settings, result: Make) -> None:
    made = settings(rival=RivalSettings(row="theirs", margin=0.05, published_ratio=1.71), ceiling="ours", seeds=(0, 1))

    def said(*theirs: float) -> str:
        ours = [result("ours", seed, 0.7) for seed in (0, 1)]
        lines = make_leaderboard(made, ours + [result("theirs", s, v, macs=2000.0) for s, v in enumerate(theirs)])
        (words,) = claim(made, lines)
        assert words in full_markdown(made, lines) and words in readme_markdown(made, lines)
        return words

    words = said(0.69, 0.70)  # the reference is better by 1 and by 0
    assert words.startswith("Ours less Theirs (preset): +0.50 [-5.85, +6.85] points, its lower end lies not above -5.0")
    assert "its lower end lies above -5.0 points" in said(0.695, 0.70)
    assert "Theirs's synthesis to 90% of the ceiling costs 2.00 times as much [2.00, 2.00], n = 2" in words
    assert words.endswith("published is 1.71, of another cost.")
    assert claim(settings(), []) == []
    alone = make_leaderboard(made, [result("theirs", 0, 0.6)])
    assert claim(made, alone) == ["ours less Theirs: no run of both has ended well."]
    with pytest.raises(ValueError, match=r"rival.row: 'ours' is the reference itself"):
        settings(rival=RivalSettings(row="ours", margin=0.0))


def test_parquet_has_a_row_a_line_with_numbers_as_numbers(found: tuple[ComparisonSettings, list[Line]]) -> None:
    rows = pq.read_table(io.BytesIO(parquet(found[1]))).to_pylist()
    assert [row["row"] for row in rows] == ["ours", "theirs", "noise"] * 2
    assert rows[0]["score"] == pytest.approx(0.71) and rows[0]["n"] == 2
    assert rows[1]["difference"] == pytest.approx(-0.08) and rows[0]["difference"] is None
    assert rows[0]["macs/total"] == 1000.0 and rows[0]["reached_0.9/runs"] == 2


def test_numbers_in_words() -> None:
    assert percent(mean_interval([0.5])) == "50.00 %"
    assert percent(mean_interval([])) == "-"
    assert points(mean_interval([-0.01, -0.01])) == "-1.00 [-1.00, -1.00]"
    assert (number(math.nan, ".1f"), number(math.inf, ".1f"), number(1.25, ".1f", " %")) == ("-", "never", "1.2 %")
    assert budget_in_words(BudgetSettings(seconds=360.0), 0.5) == "180 seconds"


def test_a_cell_cannot_break_its_table() -> None:
    assert table(["a"], [["x | y"]]).splitlines()[-1] == "| x / y |"

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from dfkd.comparison.leaderboard import make_leaderboard
from dfkd.comparison.results import RunResult
from dfkd.comparison.sentences import claim, stability
from dfkd.comparison.tables import full_markdown, readme_markdown
from dfkd.settings.comparison import ComparisonSettings, RivalSettings, RowSettings

Make = Callable[..., RunResult]
Settings = Callable[..., ComparisonSettings]


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


def test_the_claim_against_the_rival_is_judged_by_the_lower_end(settings: Settings, result: Make) -> None:
    made = settings(rival=RivalSettings(row="theirs", margin=0.05, summarised_ratio=1.71), ceiling="ours", seeds=(0, 1))

    def said(*theirs: float) -> str:
        ours = [result("ours", seed, 0.7) for seed in (0, 1)]
        lines = make_leaderboard(made, ours + [result("theirs", s, v, macs=2000.0) for s, v in enumerate(theirs)])
        (words,) = claim(made, lines)
        assert words in full_markdown(made, lines) and words in readme_markdown(made, lines)
        return words

    words = said(0.69, 0.70)  # the reference is better by 1 and by 0
    assert words.startswith("Ours less Theirs (preset): +0.50 [-5.85, +6.85] points, n = 2, its lower end ")
    assert "its lower end lies not above -5.0 points" in words
    assert "its lower end lies above -5.0 points" in said(0.695, 0.70)
    assert (
        "Theirs's synthesis to 90% of the ceiling costs 2.00 times as much [2.00, 2.00], n = 2 of 2 whole pairs"
        in words
    )
    assert words.endswith("summaries of the publication say 1.71, of another cost.")
    assert "both reached 90% of the ceiling in 1 of 2 whole pairs" in said(0.69, 0.2)
    assert claim(settings(), []) == []
    alone = make_leaderboard(made, [result("theirs", 0, 0.6)])
    assert claim(made, alone) == ["ours less Theirs: no run of both has ended well."]
    with pytest.raises(ValueError, match=r"rival.row: 'ours' is the reference itself"):
        settings(rival=RivalSettings(row="ours", margin=0.0))

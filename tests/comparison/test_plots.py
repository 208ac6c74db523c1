from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image

from dfkd.comparison.leaderboard import make_leaderboard
from dfkd.comparison.plots import plots, score_against_budget, side_by_side
from dfkd.comparison.results import RunResult
from dfkd.settings.comparison import ComparisonSettings

Make = Callable[..., RunResult]
Settings = Callable[..., ComparisonSettings]


def test_every_method_has_a_line_through_its_budgets_and_a_band(settings: Settings, result: Make) -> None:
    made = settings(fractions=(1.0, 0.5))
    results = [
        result(row, seed, 0.5 + 0.1 * fraction + 0.01 * seed, fraction=fraction)
        for row in ("ours", "theirs")
        for seed in (0, 1)
        for fraction in (1.0, 0.5)
    ]
    lines = make_leaderboard(made, results)
    figure = score_against_budget(made, lines)
    shown = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert [trace.name for trace in shown] == ["Ours (preset, n = 2)", "Theirs (preset, n = 2)"]
    assert list(shown[0].x) == [500.0, 1000.0]
    band = next(trace for trace in figure.data if trace.fill == "toself")
    assert len(band.x) == 4 and band.y[0] > shown[0].y[0] > band.y[3]
    (html,) = plots(made, lines).values()
    assert b"Theirs (preset" in html and len(html) > 1_000_000  # plotly itself is inside: no network is needed


def test_pictures_stand_side_by_side() -> None:
    png = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(png, "PNG")
    sheet = Image.open(io.BytesIO(side_by_side({f"method {index}": png.getvalue() for index in range(5)})))
    reds = dict((colour, count) for count, colour in sheet.getcolors() or [])[255, 0, 0]
    assert reds == 5 * 40 * 20
    assert sheet.width > 4 * 40 and sheet.height > 2 * 20

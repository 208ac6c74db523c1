"""A leaderboard as interactive plots, and synthetic images of its methods side by side."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from PIL import Image, ImageDraw, ImageFont
from plotly.colors import qualitative

from dfkd.comparison.leaderboard import Line
from dfkd.settings.comparison import ComparisonSettings

COLOURS = qualitative.Dark24
MARGIN, TITLE_HEIGHT = 12, 18  # pixels
PER_ROW = 4  # pictures


def plots(settings: ComparisonSettings, lines: Sequence[Line]) -> dict[str, bytes]:
    """Return a plot of score against budget for every pair, as HTML files by name."""
    files = {}
    for pair in dict.fromkeys(line.pair for line in lines):
        figure = score_against_budget(settings, [line for line in lines if line.pair == pair])
        name = f"score_against_budget{'-' + pair if pair else ''}.html"
        files[name] = figure.to_html(include_plotlyjs=True).encode()
    return files


def score_against_budget(settings: ComparisonSettings, lines: Sequence[Line]) -> go.Figure:
    """Return the last epoch's score of every method at every budget, with the band of its 95 % interval."""
    figure = go.Figure()
    shown: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        if line.macs and not math.isnan(line.score.mean):
            shown.setdefault((line.row, line.column), []).append(line)
    for place, found in enumerate(shown.values()):
        found.sort(key=lambda line: line.fraction)
        colour = COLOURS[place % len(COLOURS)]
        budgets = [settings.budget.amount * line.fraction for line in found]
        name = f"{found[0].title} ({found[0].column}, n = {found[-1].score.n})"
        halves = [0.0 if math.isnan(line.score.half_width) else line.score.half_width for line in found]
        means = [line.score.mean for line in found]
        band = [mean + half for mean, half in zip(means, halves, strict=True)]
        band += [mean - half for mean, half in zip(reversed(means), reversed(halves), strict=True)]
        figure.add_scatter(
            x=[*budgets, *reversed(budgets)], y=band, fill="toself", mode="none", fillcolor=colour, opacity=0.15,
            legendgroup=name, showlegend=False, hoverinfo="skip",
        )  # fmt: skip
        figure.add_scatter(
            x=budgets, y=means, mode="lines+markers", line={"color": colour}, name=name, legendgroup=name,
            error_y={"type": "data", "array": halves},
        )  # fmt: skip
    figure.update_layout(
        title=f"{settings.title or settings.name}: each budget is a run of its own",
        xaxis_title="multiply-accumulates" if settings.budget.unit == "macs" else "seconds",
        yaxis_title=f"{settings.score.replace('_', ' ')} on the test split, last epoch",
        yaxis_tickformat=".0%",
    )
    return figure


def side_by_side(pictures: Mapping[str, bytes]) -> bytes:
    """Lay pictures out in rows, each under its title.

    Args:
        pictures: PNG files by title.

    Returns:
        A PNG file.
    """
    opened = {title: Image.open(io.BytesIO(png)).convert("RGB") for title, png in pictures.items()}
    width = max(picture.width for picture in opened.values()) + MARGIN
    height = max(picture.height for picture in opened.values()) + MARGIN + TITLE_HEIGHT
    columns = min(PER_ROW, len(opened))
    canvas = Image.new("RGB", (columns * width + MARGIN, -(-len(opened) // columns) * height + MARGIN), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default()
    for place, (title, picture) in enumerate(opened.items()):
        left, top = MARGIN + place % columns * width, MARGIN + place // columns * height
        pen.text((left, top), title, fill="black", font=font)
        canvas.paste(picture, (left, top + TITLE_HEIGHT))
    buffer = io.BytesIO()
    canvas.save(buffer, format="PNG")
    return buffer.getvalue()

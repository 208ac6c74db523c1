"""Numbers, intervals and Markdown tables, as a leaderboard writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dfkd.comparison.statistics import Interval

NOTHING = "-"


def percent(interval: Interval) -> str:
    """Return an interval of shares: ``97.00 +- 0.45 %``."""
    half = "" if math.isnan(interval.half_width) else f" +- {100 * interval.half_width:.2f}"
    return NOTHING if math.isnan(interval.mean) else f"{100 * interval.mean:.2f}{half} %"


def points(interval: Interval) -> str:
    """Return an interval of differences between shares, in points, with both ends: ``-0.52 [-1.10, +0.06]``."""
    if math.isnan(interval.mean):
        return NOTHING
    ends = "" if math.isnan(interval.half_width) else f" [{100 * interval.low:+.2f}, {100 * interval.high:+.2f}]"
    return f"{100 * interval.mean:+.2f}{ends}"


def plain(interval: Interval, *, ends: bool = False) -> str:
    """Return an interval in its own unit, with its half-width or with both ends."""
    if math.isnan(interval.mean):
        return NOTHING
    if math.isnan(interval.half_width):
        return f"{interval.mean:.4g}"
    beside = f"[{interval.low:.4g}, {interval.high:.4g}]" if ends else f"+- {interval.half_width:.4g}"
    return f"{interval.mean:.4g} {beside}"


def number(value: float, form: str, unit: str = "") -> str:
    """Return a number, or a dash where there is none; infinite is "never"."""
    if math.isnan(value):
        return NOTHING
    return "never" if math.isinf(value) else f"{value:{form}}{unit}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())

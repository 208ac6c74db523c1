"""The figures of a report, as SVG: drawn without a display, with their text as text, and nothing to be fetched."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Curve = Sequence[tuple[float, float]]  # points (x, y)

WIDTH = 8.0  # inches
COLUMNS = 3  # of small figures in a row
#: Names are shown as they are: a dollar sign begins no formula, and letters of any language are the reader's font's.
STYLE: dict[Any, Any] = {"text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "dfkd", "font.size": 9}
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def draw_curves(curves: Mapping[str, Curve], *, x: str, y: str, highlighted: str | None = None) -> str:
    """Draw named curves over whole numbers in one plot; with many, only the highlighted one and the axes speak."""
    with _style():
        figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
        axes = figure.add_subplot(xlabel=x, ylabel=y)
        for name, points in curves.items():
            own: dict[str, Any] = {"linewidth": 2.5, "zorder": 3} if name == highlighted else {"linewidth": 1.0}
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            _plot(axes, points, label=_label(name), marker="o" if len(points) < 30 else "", markersize=3, **own)
        if len(curves) > 1:
            figure.legend(loc="outside right upper", fontsize=7, ncols=1 + len(curves) // 20)
        return _svg(figure)


def draw_multiples(curves: Mapping[str, Curve], *, x: str | None = None, lines: bool = True) -> str:
    """Draw each curve in a small plot of its own, under its name.

    Args:
        curves: by name.
        x: label of all x axes, which are of whole numbers; None: the name is that of the x axis.
        lines: whether points are joined.
    """
    with _style():
        rows = -(-len(curves) // COLUMNS)
        figure = Figure(figsize=(WIDTH, 1.9 * rows), layout="constrained")
        for place, (name, points) in enumerate(curves.items(), start=1):
            axes = figure.add_subplot(rows, COLUMNS, place)
            if x is None:
                axes.set_xlabel(_label(name), fontsize=7)
            else:
                axes.set_title(_label(name), fontsize=8)
                axes.set_xlabel(x, fontsize=7)
            axes.tick_params(labelsize=7)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=x is not None))
            _plot(axes, points, linestyle="-" if lines else "none", marker="o", markersize=3, linewidth=1.0)
        return _svg(figure)


def draw_progress(values: Sequence[float], *, maximise: bool, y: str) -> str:
    """Draw the objective of every trial in the order of their beginnings, and the best so far as a line."""
    best, line = math.nan, []
    for value in values:
        better = math.isnan(best) or (value > best if maximise else value < best)
        best = value if better and not math.isnan(value) else best
        line.append(best)
    with _style():
        figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
        axes = figure.add_subplot(xlabel="trial", ylabel=y)
        numbers = range(1, len(values) + 1)
        axes.plot(numbers, values, marker="o", linestyle="none", label="trial")
        axes.step(numbers, line, where="post", color="gray", linewidth=1.0, label="best so far")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside right upper", fontsize=7)
        return _svg(figure)


def draw_confusion(matrix: Sequence[Sequence[int]], class_names: Sequence[str]) -> str:
    """Draw counts [K][K]: true class downwards, predicted class to the right; few classes have their numbers."""
    num_classes = len(matrix)
    with _style():
        names = [_label(name, 16) for name in class_names]
        side = min(WIDTH, 3.0 + 0.3 * num_classes)
        figure = Figure(figsize=(side, side), layout="constrained")
        axes = figure.add_subplot(xlabel="predicted", ylabel="true")
        axes.imshow(matrix, cmap="Blues")
        if num_classes <= 30:
            axes.set_xticks(range(num_classes), names, rotation=90, fontsize=7)
            axes.set_yticks(range(num_classes), names, fontsize=7)
            size = 8 if num_classes <= 12 else 6
            dark = max(map(max, matrix)) / 2
            for row, counts in enumerate(matrix):
                for column, count in enumerate(counts):
                    colour = "white" if count > dark else "black"
                    axes.text(column, row, str(count), ha="center", va="center", fontsize=size, color=colour)
        return _svg(figure)


def _plot(axes: Axes, points: Curve, **how: Any) -> None:
    axes.plot([x for x, _ in points], [y for _, y in points], **how)


def _label(name: str, longest: int = 48) -> str:
    """Return a name that matplotlib shows in a legend, and not too long for one."""
    name = "".join(letter if letter.isprintable() else "?" for letter in name)  # SVG takes no control characters
    shown = name if len(name) <= longest else f"{name[: longest - 1]}…"
    return f" {shown}" if shown.startswith("_") else shown  # it leaves out what begins with an underscore


def _style() -> Any:
    return matplotlib.rc_context(STYLE)


def _svg(figure: Figure) -> str:
    """Return the SVG element without what stands before it in a file."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # only its width is guessed
        figure.savefig(buffer, format="svg", metadata=NO_METADATA)
    text = buffer.getvalue()
    return text[text.index("<svg") :]

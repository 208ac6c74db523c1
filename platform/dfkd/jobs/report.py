"""A report of one run to send around: a single HTML file that needs no network, and its figures as SVG beside it."""

from __future__ import annotations

import base64
import math
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from dfkd.jobs.command import open_output
from dfkd.jobs.console import Console, duration
from dfkd.jobs.report_facts import ReportFacts, gather
from dfkd.jobs.report_figures import draw_confusion, draw_curves, draw_multiples, draw_progress
from dfkd.tracking.connection import check_reachable
from dfkd.tracking.home import open_home, resolve_tracking_uri
from dfkd.tracking.run_reading import RecordedRun, RunReader

TEMPLATE = Path(__file__).with_name("report.html.jinja")
SHOWN_CURVES = 12
FIGURES = (
    "score by budget",
    "objective by trial", "objective by setting", "objective by epoch", "scores by epoch", "losses", "confusion matrix",
)  # fmt: skip
SCORES = ("probe/agreement", "val/accuracy/top1", "val/agreement/top1")


def run_report(name: str, *, output: str | None, home: str | None, tracking_uri: str | None, console: Console) -> Path:
    """Write the report of a run, and its figures into a folder beside it.

    Args:
        name: of a search, a distillation or an experiment, or MLflow's identifier of any run.
        output: where to; None: ``report-<name>.html`` here.
        home: of the store where no tracking address is given.
        tracking_uri: of MLflow.
        console: says where the report is.

    Returns:
        The HTML file.

    Raises:
        ValueError: there is no such run.
        ConnectionError: MLflow does not answer.
        OSError: the file cannot be written.
    """
    address = resolve_tracking_uri(tracking_uri, home=open_home(home))
    file = open_output(output or "report-{}.html".format(re.sub(r"[^\w.-]+", "-", name)), option="--output")
    assert file is not None
    check_reachable(address)
    reader = RunReader(address)
    run = reader.find(name)
    console.say(f"reading {run.name} ({run.run_id})")
    facts = gather(reader, run)
    figures = draw(reader, facts)
    file.write_text(render(facts, figures), encoding="utf-8")
    folder = file.with_name(f"{file.stem}-figures")
    folder.mkdir(exist_ok=True)
    for title in FIGURES:  # of an earlier report, which may have had others
        _figure_file(folder, title).unlink(missing_ok=True)
    for title, svg in figures.items():
        _figure_file(folder, title).write_text(svg, encoding="utf-8")
    console.say(f"report: {file}")
    console.say(f"figures: {folder}")
    return file


def _figure_file(folder: Path, title: str) -> Path:
    assert title in FIGURES, title
    return folder / f"{title.replace(' ', '_')}.svg"


def draw(reader: RunReader, facts: ReportFacts) -> dict[str, str]:
    """Return the figures by title, as SVG."""
    figures: dict[str, str] = {}
    if facts.by_budget:
        figures["score by budget"] = draw_curves(facts.by_budget, x="percent of the budget", y="score")
    objective, run = facts.objective, facts.run
    trials = [child for child in facts.children if "dfkd.trial" in child.tags]
    if objective is not None and trials:
        in_order = sorted(trials, key=lambda trial: int(trial.tags["dfkd.trial"]))
        values = [objective.value(trial) for trial in in_order]
        figures["objective by trial"] = draw_progress(values, maximise=objective.maximise, y=objective.metric)
        points = {path: _against(path, facts) for path in facts.searched}
        if numbers := {path: found for path, found in points.items() if found}:
            figures["objective by setting"] = draw_multiples(numbers, lines=False)
        curves = {trial.name: curve for trial in trials if (curve := _by_epoch(reader, trial, objective.key))}
        best = trials[0]
        figures["objective by epoch"] = draw_curves(curves, x="epoch", y=objective.metric, highlighted=best.name)
        run = best
    scores = {name: curve for name in SCORES if (curve := _by_epoch(reader, run, name))}
    if scores and run is facts.run:
        figures["scores by epoch"] = draw_curves(scores, x="epoch", y="share")
    names = [name for name in sorted(run.metrics) if name.startswith(("distillation/", "synthesis/"))]
    if losses := {name: _by_epoch(reader, run, name) for name in names[:SHOWN_CURVES]}:
        figures["losses"] = draw_multiples(losses, x="epoch")
    if facts.confusion:
        figures["confusion matrix"] = draw_confusion(facts.confusion["matrix"], facts.confusion["classes"])
    return figures


def _by_epoch(reader: RunReader, run: RecordedRun, metric: str) -> list[tuple[int, float]]:
    """Return a metric over the epochs, which people count from 1."""
    return [(step + 1, value) for step, value in reader.curve(run, metric)]


def _against(path: str, facts: ReportFacts) -> list[tuple[float, float]]:
    """Return (setting, objective) of the trials that have both; none where the setting is no number."""
    assert facts.objective is not None
    known = [(child.params.get(path), facts.objective.value(child)) for child in facts.children]
    try:
        return sorted((float(text), value) for text, value in known if text is not None and not math.isnan(value))
    except ValueError:
        return []


def render(facts: ReportFacts, figures: Mapping[str, str]) -> str:
    """Return the page. Every name in it is text, whatever it looks like."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {
        "markdown": _markdown,
        "breakable": _breakable,
        "number": _number,
        "duration": duration,
        "time": _time,
    }
    pictures = {title: base64.b64encode(png).decode() for title, png in facts.pictures.items()}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    drawn = {title: Markup(svg) for title, svg in figures.items()}  # by matplotlib, which escapes its text
    return template.render(facts=facts, run=facts.run, figures=drawn, pictures=pictures)


def _markdown(text: str) -> Markup:
    """Return a description or card as HTML; tags in it are text, and nothing in it is a link or a picture."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image", "autolink", "html_block"])
    for rule in ("link_open", "link_close"):
        reader.add_render_rule(rule, lambda *_: "")
    return Markup(reader.render(text))


def _breakable(path: str) -> Markup:
    """Return a dotted path that may go on in the next line after each of its parts."""
    return Markup("<wbr>").join(re.split(r"(?<=[._])", path))


def _number(value: Any) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4g}"


def _time(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(milliseconds / 1000))

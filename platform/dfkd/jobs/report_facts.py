"""What a report says of a run, read from MLflow alone: it may have been made anywhere."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq

from dfkd.jobs.environment import PACKAGES
from dfkd.jobs.front import FRONT_FILE
from dfkd.jobs.preparation import REPORT_KEYS
from dfkd.settings.search import ObjectiveSettings
from dfkd.tasks.further_objectives import PREFIX
from dfkd.tracking.run_reading import RecordedRun, RunReader

PICTURES = "synthetic images"
SHOWN_TRIALS, SHOWN_EPOCHS = 6, 4  # with synthetic images: of the first trials the last, of the first one several
GROUPS = {
    "test": "on the test split",
    "floor": "KD on random noise, on the test split",
    "trust": "how far the choice can be trusted",
    "val": "on the validation split, last epoch",
    "probe": "on the probe set, last epoch",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveOf:
    """What the trials of a search were compared by.

    Attributes:
        metric: as the search space calls it.
        key: of the trials' metrics.
        maximise: whether more is better.
    """

    metric: str
    key: str
    maximise: bool

    def value(self, run: RecordedRun) -> float:
        """Return a trial's value; NaN without."""
        return run.metrics.get(self.key, math.nan)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportFacts:
    """A run and what lies around it.

    Attributes:
        run: itself.
        children: the best first where there is an objective.
        objective: of a search; of several, the one that it is ordered by.
        further: names of its other objectives.
        front: keys of the trials that no other one dominates; None where there is no front.
        searched: dotted paths that a search tried values of.
        chosen: key of the trial whose student was registered.
        confusion: ``classes`` and ``matrix`` of the student on the test split.
        pictures: PNG files by title.
        cards: Markdown by registry address.
        leaderboard: Markdown of a comparison's tables, all of them; None for other runs.
        by_budget: of a comparison: percent of the budget and score, by method.
    """

    run: RecordedRun
    children: Sequence[RecordedRun]
    objective: ObjectiveOf | None
    further: Sequence[str]
    front: frozenset[str] | None
    searched: Sequence[str]
    chosen: str | None
    confusion: Mapping[str, Any] | None
    pictures: Mapping[str, bytes]
    cards: Mapping[str, str]
    leaderboard: str | None = None
    by_budget: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)

    def further_value(self, child: RecordedRun, name: str) -> float | None:
        """Return a trial's value of one of the other objectives; None without."""
        return child.metrics.get(f"{PREFIX}{name}")

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """Last metrics of the run by what they are of."""
        found: dict[str, dict[str, float]] = {}
        for group, words in GROUPS.items():
            values = {
                name.removeprefix(f"{group}/"): value
                for name, value in self.run.metrics.items()
                if name.startswith(f"{group}/")
            }
            if values:
                found[words] = dict(sorted(values.items()))
        return found

    @property
    def environment(self) -> dict[str, str]:
        """Commit, versions and devices."""
        own = {"commit", "python", *PACKAGES}
        found = {name: value for name, value in self.run.params.items() if name in own}
        found |= {
            name.removeprefix("version."): value
            for name, value in self.run.tags.items()
            if name == "commit" or name.startswith("version.")
        }
        devices = dict.fromkeys(run.tags["device"] for run in (self.run, *self.children) if "device" in run.tags)
        return found | ({"device": ", ".join(devices)} if devices else {})

    @property
    def settings(self) -> dict[str, str]:
        """All settings by dotted path; of a search, the default ones."""
        return {name: value for name, value in sorted(self.run.params.items()) if name not in self.environment}


def gather(reader: RunReader, run: RecordedRun) -> ReportFacts:
    """Read what the report of a run needs."""
    space = _json(reader, run, "search_space.json") or {}
    objective = _objective(space)
    children = reader.children(run)
    if objective is not None:
        children.sort(key=lambda child: _rank(objective, child))
    return ReportFacts(
        run=run,
        children=children,
        objective=objective,
        further=list(space.get("further_objectives", {})),
        front=_front(reader, run),
        searched=list(space.get("parameters", {})),
        chosen=run.tags.get("dfkd.chosen"),
        confusion=_json(reader, run, "confusion_matrix.json"),
        pictures=_pictures(reader, run, children),
        cards=dict(reader.registered(run)),
        leaderboard=None if (tables := reader.file(run, "leaderboard.md")) is None else tables.decode(),
        by_budget=_by_budget(reader, run),
    )


def _by_budget(reader: RunReader, run: RecordedRun) -> dict[str, list[tuple[float, float]]]:
    """Return the scores of a comparison's methods; students without a budget have no place in it."""
    content = reader.file(run, "leaderboard.parquet")
    found: dict[str, list[tuple[float, float]]] = {}
    for row in [] if content is None else pq.read_table(io.BytesIO(content)).to_pylist():
        if row.get("macs/total") and not math.isnan(row["score"]):
            name = f"{row['pair']} {row['title']} ({row['column']})".strip()
            found.setdefault(name, []).append((100 * row["fraction"], row["score"]))
    return {name: sorted(points) for name, points in found.items()}


def _objective(space: Mapping[str, Any]) -> ObjectiveOf | None:
    if "objective" not in space:
        return None
    settings = ObjectiveSettings(metric=space["objective"]["metric"])
    return ObjectiveOf(metric=settings.metric, key=REPORT_KEYS[settings.metric], maximise=settings.goal == "maximize")


def _front(reader: RunReader, run: RecordedRun) -> frozenset[str] | None:
    content = reader.file(run, FRONT_FILE)
    if content is None:
        return None
    rows = pq.read_table(io.BytesIO(content), columns=["key", "on_front"]).to_pylist()
    return frozenset(row["key"] for row in rows if row["on_front"])


def _rank(objective: ObjectiveOf, run: RecordedRun) -> float:
    value = objective.value(run)
    return math.inf if math.isnan(value) else -value if objective.maximise else value


def _pictures(reader: RunReader, run: RecordedRun, children: Sequence[RecordedRun]) -> dict[str, bytes]:
    """Return the first run's synthetic images at several epochs, and the last ones of the next runs."""
    found: dict[str, bytes] = {}
    if (samples := reader.file(run, "samples.png")) is not None:  # of a comparison
        found["all methods"] = samples
    for owner in (run, *children[:SHOWN_TRIALS]):
        series = reader.pictures(owner, PICTURES)
        steps = list(series)
        every = max(1, -(-len(steps) // SHOWN_EPOCHS)) if not found else len(steps)
        for step in reversed(steps[::-1][::every] if steps else []):
            if (picture := reader.file(owner, series[step])) is not None:
                found[f"{owner.name}, epoch {step + 1}"] = picture
    return found


def _json(reader: RunReader, run: RecordedRun, name: str) -> dict[str, Any] | None:
    content = reader.file(run, name)
    if content is None:
        return None
    facts: dict[str, Any] = json.loads(content)
    return facts

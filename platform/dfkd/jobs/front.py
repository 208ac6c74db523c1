"""A search's Pareto front: from its trials' records, as people read it, and as files."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from dfkd.jobs.preparation import REPORT_KEYS
from dfkd.jobs.running import Running
from dfkd.jobs.trial_records import TrialRecord
from dfkd.search.front import Front, make_front
from dfkd.settings.search import SearchSettings
from dfkd.tasks.further_objectives import PREFIX

FRONT_FILE = "pareto_front.parquet"  # of a search's run


def find_front(settings: SearchSettings, records: Sequence[TrialRecord]) -> Front | None:
    """Return the front of a search's trials; None where it has one objective.

    Raises:
        ValueError: no trial has every objective, or the rule picks none.
    """
    if not settings.further_objectives:
        return None
    points = {record.key: objectives_of(settings, record) for record in records if record.status == "complete"}
    whole = {key: point for key, point in points.items() if all(map(math.isfinite, point.values()))}
    return make_front(whole, settings.goals, settings.front)


def objectives_of(settings: SearchSettings, record: TrialRecord) -> dict[str, float]:
    """Return a trial's objectives by name; NaN for one that it does not have."""
    keys: dict[str, str] = {settings.objective.metric: REPORT_KEYS[settings.objective.metric]}
    keys |= {name: f"{PREFIX}{name}" for name in settings.further_objectives}
    return {name: float(record.metrics.get(key, math.nan)) for name, key in keys.items()}


def front_markdown(running: Running, front: Front) -> str:
    """Return the front as a table under a sentence on its rule and on the default settings."""
    rule, records = running.space.settings.front, {record.key: record for record in running.searched()}
    limits = ", ".join(f"{name} {limit:g}" for name, limit in rule.limits.items())
    lines = [
        f"{len(front.keys)} of {len(front.points)} trials are dominated by no other. Registered by the rule "
        f"`{rule.rule}`{f' ({limits})' if limits else ''}. {default_in_words(running, front)}",
        "",
        "| trial | " + " | ".join(front.goals) + " | settings |",
        "|---" * (len(front.goals) + 2) + "|",
    ]
    for key in front.keys:
        record = records[key]
        values = " | ".join(f"{front.points[key][name]:.6g}" for name in front.goals)
        params = ", ".join(f"{path.rsplit('.', 1)[-1]} {_short(value)}" for path, value in record.params.items())
        mark = " (registered)" if key == front.chosen else ""
        lines.append(f"| {record.number + 1}{mark} | {values} | {params} |")
    return "\n".join(lines)


def default_in_words(running: Running, front: Front) -> str:
    """Return how the front stands to the default settings, as a sentence."""
    default = next((record for record in running.searched() if record.is_default), None)
    if default is None or default.key not in front.points:
        return "The default settings have no point."
    if default.key in front.keys:
        return "The default settings are a point of it."
    return "The default settings are dominated by it."


def front_parquet(running: Running, front: Front) -> bytes:
    """Return every trial's objectives and settings, and whether it is on the front, as one Parquet table."""
    rows = [
        {"trial": record.number + 1, "key": record.key, "on_front": record.key in front.keys}
        | {"registered": record.key == front.chosen, "default": record.is_default}
        | dict(front.points[record.key])
        | {f"settings/{path}": value for path, value in record.params.items()}
        for record in running.searched()
        if record.key in front.points
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

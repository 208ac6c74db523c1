"""A finished search as other programs read it: the file of ``--json``."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dfkd.jobs.choice import Choice
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.front import default_in_words
from dfkd.jobs.plain_json import plain_json
from dfkd.jobs.running import Running
from dfkd.settings.identity import shareable

if TYPE_CHECKING:
    from dfkd.jobs.outcome import Outcome


def outcome_as_json(running: Running, outcome: Outcome, *, seconds: float) -> str:
    """Return a search's outcome for other programs; ``settings`` are the default ones, of which trials differ."""
    facts = {
        "search_id": running.folder.search_id,
        "settings": shareable(running.space.resolve({})),
        "teacher": outcome.teacher_label,
        "chosen": asdict(outcome.choice.record),
        "tie_margin": asdict(outcome.choice.margin),
        "trust": outcome.choice.trust.numbers(),
        "front": _front_as_plain(running, outcome.choice),
        "test": dict(outcome.scores),
        "test_of_noise_floor": dict(outcome.floor_scores),
        "teacher_parameters": outcome.teacher_parameters,
        "student_parameters": outcome.student_parameters,
        "model_uri": outcome.registered.uri,
        "trials": [asdict(record) for record in running.records.all()],
        "seconds": seconds,
        "seconds_to_first_report": outcome.start_up.first_report,
        "commit": commit(),
        "versions": versions(),
        "cpu_count": os.cpu_count(),
    }
    return plain_json(facts)


def _front_as_plain(running: Running, choice: Choice) -> dict[str, Any] | None:
    if (front := choice.front) is None:
        return None
    points = [{"key": key, **front.points[key]} for key in front.keys]
    return {"points": points, "registered": front.chosen, "default": default_in_words(running, front)}

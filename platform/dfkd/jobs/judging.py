"""What the test split says of a chosen student and of the noise floor, each of which sees it once."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from dfkd.jobs.choice import Choice
from dfkd.jobs.floor import FloorRun
from dfkd.jobs.running import Running
from dfkd.jobs.students import Judgement, judge
from dfkd.settings.experiment import ExperimentSettings


def judge_once(running: Running, choice: Choice, settings: ExperimentSettings, student: nn.Module) -> Judgement:
    """Return what the test split says of the student, which sees it once, however often the search goes on."""
    known = running.folder.facts().get("judgements", {})
    if choice.record.key in known:
        return Judgement(**known[choice.record.key])
    on_test = "judging it on the test split, once" if running.data.test else "there are no test images to judge it on"
    if running.data.test and known:
        on_test += f", as the {ordinal(len(known) + 1)} student of this search"
    tied = f" (the default settings: ties lie within {choice.margin.value:.4g})" if choice.record.is_default else ""
    running.console.say(f"chosen: trial {choice.record.number + 1}{tied}; {on_test}")
    judgement = judge(student, running.materials.teacher, running.data.test, settings.tasks)
    running.folder.note(judgements=known | {choice.record.key: judgement.to_dict()})
    return judgement


def looks(running: Running, key: str) -> str:
    """Return which of its search's students the test split saw this one is; nothing where it is the only one.

    A search that goes on may choose another student. Whoever stops it by its test scores has chosen by them.
    """
    known = list(running.folder.facts().get("judgements", {}))
    if len(known) == 1:
        return ""
    return f", as the {ordinal(known.index(key) + 1)} of {len(known)} students of this search, which went on"


def ordinal(place: int) -> str:
    """Return ``1st``, ``2nd``, ``3rd``, ``4th``, ..."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th") if place % 100 not in (11, 12, 13) else "th"
    return f"{place}{ending}"


def score_floor(running: Running, floor: FloorRun | None, settings: ExperimentSettings) -> Mapping[str, float]:
    """Return the scores of KD on random noise on the test split; a search that goes on remembers them."""
    if floor is None:
        return dict(running.folder.facts().get("floor_scores", {}))
    teacher = running.materials.teacher
    student = floor.wait(teacher, running.console)
    if student is None:
        return {}
    scores = judge(student, teacher, running.data.test, settings.tasks).scores
    running.folder.note(floor_scores=scores)
    return scores

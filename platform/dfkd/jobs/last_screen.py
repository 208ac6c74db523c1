"""A finished search on one screen: what a person wants to know when the command is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dfkd.jobs.choice import Choice
from dfkd.jobs.console import percent
from dfkd.jobs.story import against_default, settings_in_words, two_workers
from dfkd.tracking.connection import ui_address, ui_command

if TYPE_CHECKING:
    from dfkd.jobs.outcome import Outcome


def last_screen(outcome: Outcome, *, tracking_uri: str, run_url: str, seconds: float) -> str:
    """Return what a person wants to know when the command is done."""
    scores: Mapping[str, float] = outcome.scores
    sizes = f"{outcome.student_parameters:,} parameters"
    smaller = f"{outcome.teacher_parameters / outcome.student_parameters:.1f} times smaller"
    rows = [
        (outcome.teacher_label, "accuracy/teacher_top1", f"test accuracy, {outcome.teacher_parameters:,} parameters"),
        ("student", "accuracy/top1", f"test accuracy, {sizes} ({smaller})"),
        ("student/teacher", "accuracy/ratio", "of the teacher's accuracy"),
        ("agreement", "agreement/top1", "same decision as the teacher on the test images"),
    ]
    lines = ["", "=" * 78]
    if scores:
        lines += [f"  {name:<16} {percent(scores.get(key)):>8}   {words}" for name, key, words in rows]
        if outcome.floor_scores:
            floor = percent(outcome.floor_scores.get("accuracy/top1"))
            lines.append(f"  {'noise floor':<16} {floor:>8}   KD on random noise, default settings' student steps")
    else:
        agreement = percent(outcome.choice.record.metrics.get("probe/agreement"))
        lines.append(f"  {'student':<16} {'-':>8}   accuracy unknown: no test images; {sizes} ({smaller})")
        lines.append(f"  {'agreement':<16} {agreement:>8}   same decision as the teacher on its synthetic probe set")
    for name in ("balanced_accuracy", "auroc", "sensitivity", "specificity"):
        if f"binary/{name}" in scores:
            teacher = scores.get(f"binary/teacher_{name}")
            lines.append(f"  {name:<16} {scores[f'binary/{name}']:>8.3f}   {outcome.teacher_label} {teacher:.3f}")
    choice = outcome.choice
    lines += [
        f"  best settings    {settings_in_words(choice.record)}{against_default(choice)}",
        f"  ties             below {choice.margin.value:.4f}: {choice.margin.source}",
        f"  trust            {choice.trust.sentence()}",
        *_front_lines(choice),
    ]
    if choice.check is not None:
        what, two, one = two_workers(choice.check, choice.default)
        lines.append(f"  two workers      {what} with the default settings {two} (one worker: {one})")
    lines += [
        f"  start-up         {outcome.start_up.sentence()}",
        f"  registered       {outcome.registered.uri}"
        + (" (champion)" if outcome.registered.promoted else f": {outcome.registered.reason}"),
        f"  took             {seconds / 60:.1f} minutes",
        f"  look at it       {ui_command(tracking_uri) or ui_address(tracking_uri)}",
        f"                   {run_url}",
        "=" * 78,
    ]
    return "\n".join(lines)


def _front_lines(choice: Choice) -> list[str]:
    """Return the front on the last screen: a line a point, the registered one marked."""
    if (front := choice.front) is None:
        return []
    lines = [f"  front            {len(front.keys)} of {len(front.points)} trials; * is registered"]
    for key in front.keys:
        values = ", ".join(f"{name} {front.points[key][name]:.6g}" for name in front.goals)
        lines.append(f"                 {'*' if key == front.chosen else ' '} {values}")
    return lines

"""An acceptance as a page of Markdown and as plain values."""

from __future__ import annotations

import dataclasses
from typing import Any

from dfkd.settings.acceptance import AcceptanceSettings
from dfkd.settings.identity import to_dict
from dfkd.tasks.acceptance import Acceptance


def verdict(found: Acceptance, settings: AcceptanceSettings) -> str:
    """Return the verdict and its reason in one sentence."""
    points, metric = 100 * settings.margin, settings.metric.replace("_", " ")
    if found.passed:
        return (
            f"accepted: in {metric} the student loses at most {points:g} points to its teacher, with "
            f"{settings.confidence:.0%} confidence ({_points(found.difference.estimate)} points, "
            f"lower limit {_points(found.difference.lower_limit)})."
        )
    failed = [
        f"{check.name} is {check.value:.4g}, {'at most' if check.at_most else 'at least'} {check.limit:.4g} was asked"
        for check in found.checks
        if not check.passed
    ]
    return f"not accepted: {'; '.join(failed)}."


def to_markdown(found: Acceptance, settings: AcceptanceSettings, *, facts: dict[str, str]) -> str:
    """Return the report; ``facts`` says by name what was compared on what."""
    lines = ["# Acceptance", "", f"**{verdict(found, settings)[0].upper()}{verdict(found, settings)[1:]}**", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["", "| check | value | limit | | what it is |", "|---|---|---|---|---|"]
    for check in found.checks:
        bound = "at most" if check.at_most else "at least"
        outcome = "pass" if check.passed else "**fail**"
        lines.append(f"| {check.name} | {check.value:.4f} | {bound} {check.limit:.4f} | {outcome} | {check.meaning} |")
    lines += ["", "| score | student | teacher |", "|---|---|---|"]
    for name, value in found.scores.items():
        if not name.startswith("teacher_"):
            theirs = found.scores.get(f"teacher_{name}")
            lines.append(f"| {name} | {value:.4f} | {'-' if theirs is None else f'{theirs:.4f}'} |")
    at = f"at {settings.specificity:.0%} specificity"
    lines += ["", f"| class | images | accuracy | teacher's | sensitivity {at} | teacher's | agreement |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in found.classes:
        numbers = (row.accuracy, row.teacher_accuracy, row.sensitivity, row.teacher_sensitivity, row.agreement)
        lines.append(f"| {row.name} | {row.images} | " + " | ".join(f"{value:.4f}" for value in numbers) + " |")
    return "\n".join([*lines, "", _METHOD.format(resamples=settings.resamples, seed=settings.seed), ""])


def to_plain(found: Acceptance, settings: AcceptanceSettings) -> dict[str, Any]:
    """Return the same as values that JSON can hold."""
    return {
        "passed": found.passed,
        "verdict": verdict(found, settings),
        "settings": to_dict(settings),
        "difference": dataclasses.asdict(found.difference),
        "checks": [dataclasses.asdict(check) | {"passed": check.passed} for check in found.checks],
        "scores": found.scores,
        "classes": [dataclasses.asdict(row) for row in found.classes],
    }


def _points(share: float) -> str:
    return f"{100 * share:+.2f}"


_METHOD = (
    "The lower limit is that of a percentile interval over {resamples:,} paired bootstrap resamples (seed {seed}): "
    "student and teacher are compared on the same images. Thresholds of the sensitivities are set on these very "
    "images, for both networks alike, so they flatter both. Nothing here speaks of images of another origin."
)

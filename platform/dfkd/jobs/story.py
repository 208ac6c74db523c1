"""A finished search as people read it: the parent run's description, and the last screen of the console."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dfkd.jobs.choice import Choice
from dfkd.jobs.console import percent
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.front import default_in_words, front_markdown
from dfkd.jobs.plain_json import plain_json
from dfkd.jobs.running import Running
from dfkd.jobs.trial_records import TrialRecord
from dfkd.settings.identity import shareable
from dfkd.tracking.connection import ui_address, ui_command

if TYPE_CHECKING:
    from dfkd.jobs.outcome import Outcome


def description(running: Running, outcome: Outcome) -> str:
    """Return the text on top of the parent run's page, in Markdown."""
    space, teacher, choice = running.space, running.materials.teacher, outcome.choice
    shifted = f" ({teacher.label}: trained on other images than it is judged on)" if teacher.shifted else ""
    registered, settings = outcome.registered, space.resolve(choice.record.params)
    data_free = "" if settings.synthesis.FROM_REAL_IMAGES else "data-free "
    lines = [
        f"## {space.settings.name}: the best {data_free}student of {teacher.architecture}{shifted}",
        headline(outcome),
        "",
        f"Students learnt from {settings.learnt_from}. Data for reports: {running.data.title}. The choice "
        f"among trials used {space.settings.selection_data}. {test_table(outcome)}",
        "",
        f"**Chosen:** trial {choice.record.number + 1}, {_settings_in_words(choice.record)}{against_default(choice)}. "
        f"Differences below {choice.margin.value:.4f} count as ties ({choice.margin.source}).",
        f"**Registered:** `{registered.uri}`. {'It is champion: ' if registered.promoted else ''}{registered.reason}",
        "",
        *against_one_worker(choice),
        f"**Start-up:** {outcome.start_up.sentence()}.",
        "",
        "**No privacy guarantee:** see the student's card.",
        "",
        *(["### Pareto front", front_markdown(running, choice.front), ""] if choice.front else []),
        "### How far the choice can be trusted",
        choice.trust.to_markdown(),
        "### Trials",
        trial_table(running.records.all(), running.objective.metric),
    ]
    return "\n".join(lines)


def headline(outcome: Outcome) -> str:
    """Return what was reached in one sentence: MLflow shows a description's first lines, and the rest on a click."""
    sizes = f"{outcome.student_parameters:,} of {outcome.teacher_parameters:,} parameters"
    if not outcome.scores:
        return f"**{sizes}.** How accurate it is on real images is not known."
    accuracy, teacher = (percent(outcome.scores.get(f"accuracy/{name}")) for name in ("top1", "teacher_top1"))
    floor = percent(outcome.floor_scores.get("accuracy/top1")) if outcome.floor_scores else None
    beside = f"; KD on random noise {floor}" if floor else ""
    return f"**{accuracy}** of the test images ({outcome.teacher_label} {teacher}{beside}) with **{sizes}**."


def test_table(outcome: Outcome) -> str:
    """Return a sentence on the test split and a table of it, one row a model: teacher, student, noise floor."""
    scores, floor = outcome.scores, outcome.floor_scores
    if not scores:
        return "There are no test images: how accurate the student is on real ones is not known."
    rows = [
        (outcome.teacher_label, scores.get("accuracy/teacher_top1"), None),
        ("**student**", scores.get("accuracy/top1"), scores.get("agreement/top1")),
    ]
    if floor:
        rows.append(("KD on random noise", floor.get("accuracy/top1"), floor.get("agreement/top1")))
    lines = ["The test split was used for this table and for nothing else.", ""]
    lines += ["| test split | accuracy | agreement with the teacher |", "|---|---|---|"]
    lines += [f"| {name} | {percent(accuracy)} | {percent(agreement)} |" for name, accuracy, agreement in rows]
    return "\n".join(lines)


def against_default(choice: Choice) -> str:
    """Return how the chosen settings compare with the default ones on the validation split, as half a sentence."""
    if choice.record.is_default or choice.default is None:
        return ""
    chosen, default = (r.metrics.get("val/accuracy/top1") for r in (choice.record, choice.default))
    if chosen is None or default is None:
        return ""
    return f" (validation accuracy {percent(chosen)}, default settings {percent(default)})"


def against_one_worker(choice: Choice) -> list[str]:
    """Return how the default settings did with more workers than the search's, as a paragraph of the description."""
    if choice.check is None:
        return []
    what, two, one = _two_workers(choice.check, choice.default)
    return [
        f"**{choice.check.workers} data-parallel workers on Ray Train:** {what} {two} with the default settings "
        f"(one worker: {one}). Each worker fills a bank of its own, so these are "
        "two algorithms, and the difference is not chance alone.",
        "",
    ]


def _two_workers(check: TrialRecord, default: TrialRecord | None) -> tuple[str, str, str]:
    """Return what the default settings are compared by, its value and seconds with several workers, and with one.

    Both are of the epoch that the run with several workers ended with; without one to compare with there is a dash. The
    seconds are those of the epochs, without what a start takes.
    """
    accuracy, epoch = "val/accuracy/top1", check.metrics.get("epoch")
    key, what = (
        (accuracy, "validation accuracy")
        if accuracy in check.metrics
        else ("probe/agreement", "agreement on the probe")
    )
    after = "" if check.metrics.get("finished") or epoch is None else f" after {epoch + 1} epochs"
    reports = [default.metrics, default.metrics_at_check or {}] if default else []
    one = next((report for report in reports if report.get("epoch") == epoch), {})
    return what + after, _value_and_seconds(check.metrics, key), _value_and_seconds(one, key)


def _value_and_seconds(report: Mapping[str, Any], key: str) -> str:
    seconds = report.get("time/elapsed_seconds")
    return percent(report.get(key)) + ("" if seconds is None else f" in {seconds:.0f} s")


def trial_table(records: list[TrialRecord], objective: str) -> str:
    """Return all trials as a Markdown table."""
    lines = [
        "| trial | settings | workers | status | objective | validation accuracy | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for record in records:
        value = record.metrics.get(objective)
        validation = record.metrics.get("val/accuracy/top1")
        shown = "-" if value is None else f"{value:.4f}"
        cells = (
            record.number + 1,
            _settings_in_words(record),
            record.workers,
            record.error or record.status,
            shown,
            percent(validation),
            f"{record.seconds:.0f}",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _settings_in_words(record: TrialRecord) -> str:
    if record.is_default:
        return f"default settings, seed {record.seed}"
    return ", ".join(
        f"{path.rsplit('.', 1)[-1]} {value:.3g}" if isinstance(value, float) else f"{path.rsplit('.', 1)[-1]} {value}"
        for path, value in record.params.items()
    )


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
        f"  best settings    {_settings_in_words(choice.record)}{against_default(choice)}",
        f"  ties             below {choice.margin.value:.4f}: {choice.margin.source}",
        f"  trust            {choice.trust.sentence()}",
        *_front_lines(choice),
    ]
    if choice.check is not None:
        what, two, one = _two_workers(choice.check, choice.default)
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

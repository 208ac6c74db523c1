"""A finished search as people read it: the description of its parent run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dfkd.jobs.choice import Choice
from dfkd.jobs.console import percent
from dfkd.jobs.front import front_markdown
from dfkd.jobs.running import Running
from dfkd.jobs.trial_records import TrialRecord

if TYPE_CHECKING:
    from dfkd.jobs.outcome import Outcome

TABLE_ROWS = 25  # of trials: MLflow cuts a description that is too long


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
        f"**Chosen:** trial {choice.record.number + 1}, {settings_in_words(choice.record)}{against_default(choice)}. "
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
        trial_table(running, choice.record),
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
    lines = [f"The test split chose nothing: the student was scored on it once, for this table{outcome.looks}.", ""]
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
    what, two, one = two_workers(choice.check, choice.default)
    return [
        f"**{choice.check.workers} data-parallel workers on Ray Train:** {what} {two} with the default settings "
        f"(one worker: {one}). Each worker fills a bank of its own, so these are "
        "two algorithms, and the difference is not chance alone.",
        "",
    ]


def two_workers(check: TrialRecord, default: TrialRecord | None) -> tuple[str, str, str]:
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


def trial_table(running: Running, chosen: TrialRecord) -> str:
    """Return the trials as a Markdown table, each with a link to its run, the chosen one in bold."""
    records = running.records.all()
    lines = [
        "| trial | settings | workers | status | objective | validation accuracy | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for record in records[:TABLE_ROWS]:
        value = record.metrics.get(running.objective.metric)
        number = f"**{record.number + 1}**" if record.key == chosen.key else str(record.number + 1)
        link = running.tracking.link_to(record.key)
        validation = record.metrics.get("val/accuracy/top1")
        shown = "-" if value is None else f"{value:.4f}"
        cells = (
            f"[{number}]({link})" if link else number,
            settings_in_words(record),
            record.workers,
            record.error or record.status,
            shown,
            percent(validation),
            f"{record.seconds:.0f}",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    if len(records) > TABLE_ROWS:
        lines += ["", f"And {len(records) - TABLE_ROWS} more: all are in `trials.parquet`."]
    return "\n".join(lines)


def settings_in_words(record: TrialRecord) -> str:
    """Return what a trial differs from the default settings in, or that it differs in nothing but the seed."""
    if record.is_default:
        return f"default settings, seed {record.seed}"
    return ", ".join(
        f"{path.rsplit('.', 1)[-1]} {value:.3g}" if isinstance(value, float) else f"{path.rsplit('.', 1)[-1]} {value}"
        for path, value in record.params.items()
    )

"""Which trial of a search is chosen, and how far such a choice can be trusted. No test image is looked at here."""

from __future__ import annotations

from dataclasses import dataclass

from dfkd.jobs.front import find_front
from dfkd.jobs.preparation import REPORT_KEYS
from dfkd.jobs.running import Running
from dfkd.jobs.trial_records import TrialRecord
from dfkd.search.front import Front
from dfkd.search.selection import TieMargin, TrialScore, choose, estimate_tie_margin
from dfkd.search.trust import TrustReport, trust_report
from dfkd.settings.search import ObjectiveSettings

COLLAPSED_SHARE = 0.9  # of the probe that one class takes
CHANCE_MARGIN = 0.02
BALANCED = "val/binary/balanced_accuracy"  # says more than accuracy where the classes differ in size


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The trial that a search chose.

    Attributes:
        record: of that trial.
        best: the trial with the best objective, which lost if it was tied with the default settings.
        margin: objectives that differ by less were ties.
        default: the default settings' trial, if it ran to its end.
        check: the default settings with another number of workers, if they ran as far as they were to run.
        trust: how good a choice without labels was, in hindsight.
        front: of a search with several objectives, whose rule chose; None with one.
    """

    record: TrialRecord
    best: TrialRecord
    margin: TieMargin
    default: TrialRecord | None
    check: TrialRecord | None
    trust: TrustReport
    front: Front | None = None


def choose_trial(running: Running) -> Choice:
    """Return the best trial by the search's objective, where ties go to the default settings.

    With several objectives it is the point of their front that the search's rule picks.

    Raises:
        ValueError: no trial ran to its end.
    """
    records, objective = running.searched(), running.space.settings.objective
    chosen, margin, scores = _choose(running, records, objective)
    data_free = objective if objective.needs == "no real image" else ObjectiveSettings(metric="agreement")
    front = find_front(running.space.settings, records)
    blind = (chosen, margin, scores) if data_free is objective else _choose(running, records, data_free)
    best = choose(scores, objective.goal)
    selected = next(score for score in scores if score.key == front.chosen) if front else chosen
    by_key = {record.key: record for record in records}
    defaults = [record for record in running.records.all() if record.is_default and record.status == "complete"]
    return Choice(
        record=by_key[selected.key],
        best=by_key[best.key],
        margin=margin,
        default=next((record for record in defaults if record in records), None),
        check=next((record for record in defaults if record.workers != running.plan().workers), None),
        trust=trust_report(
            blind[2],
            blind[0],
            data_free.goal,
            selected=None if selected is blind[0] else selected,
            objective_name=data_free.metric,
            validation_name="balanced validation accuracy" if _is_binary(records) else "validation accuracy",
        ),
        front=front,
    )


def _choose(
    running: Running, records: list[TrialRecord], objective: ObjectiveSettings
) -> tuple[TrialScore, TieMargin, list[TrialScore]]:
    """Return the choice by one objective, the margin of its ties, and every trial's score."""
    num_classes = len(running.materials.teacher.class_names)
    scores = [trial_score(record, REPORT_KEYS[objective.metric], num_classes) for record in records]
    eligible = [score.objective for score in scores if score.eligible and score.objective is not None]
    if not eligible:
        errors = [f" The first error, of trial {r.number + 1}: {r.error}" for r in records if r.error]
        raise ValueError(
            f"no student can be chosen: none of {len(records)} trials ran to its end with a finite "
            f"'{objective.metric}'.{''.join(errors[:1])}"
        )
    margin = estimate_tie_margin(
        objective,
        best=(max if objective.goal == "maximize" else min)(eligible),
        num_images=_exam_size(running, objective),
        repeats=default_values(running, objective),
        configured=running.space.settings.tie_margin if objective is running.space.settings.objective else None,
        changed=running.space.changed,
    )
    return choose(scores, objective.goal, margin.value), margin, scores


def default_values(running: Running, objective: ObjectiveSettings) -> list[float]:
    """Return the objective of the default settings under every seed that they ran with, workers being equal."""
    values = [
        record.metrics.get(REPORT_KEYS[objective.metric])
        for record in running.records.all()
        if record.is_default and record.status == "complete" and record.workers == running.plan().workers
    ]
    return [value for value in values if value is not None]


def trial_score(record: TrialRecord, objective: str, num_classes: int) -> TrialScore:
    """Return what selection needs of a record; ``objective`` is a key of its metrics."""
    metrics = record.metrics
    no_better_than_chance = metrics.get("probe/agreement", 1.0) <= 1 / num_classes + CHANCE_MARGIN
    return TrialScore(
        key=record.key,
        params=record.params,
        is_default=record.is_default,
        completed=record.status == "complete",
        objective=metrics.get(objective),
        kd_loss=metrics.get("distillation/kd"),
        validation=metrics.get(BALANCED, metrics.get("val/accuracy/top1")),
        collapsed=no_better_than_chance or metrics.get("probe/top_class_share", 0.0) > COLLAPSED_SHARE,
    )


def _is_binary(records: list[TrialRecord]) -> bool:
    return any(BALANCED in record.metrics for record in records)


def _exam_size(running: Running, objective: ObjectiveSettings) -> int:
    """Return how many images an objective is computed on."""
    exam = running.materials.probe if objective.needs == "no real image" else running.materials.validation
    if exam is None:
        return 1
    return len(exam.images)

"""The end of a search: which student is chosen, what it is worth, and where it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from dfkd.assembly import build_student
from dfkd.cluster.trial import TrialPlan, last_state
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.floor import FloorRun
from dfkd.jobs.probe_cache import probe_hash
from dfkd.jobs.story import description, search_artifacts
from dfkd.jobs.students import count_parameters, judge, load_student
from dfkd.jobs.teacher import description_of
from dfkd.jobs.trial_records import TrialRecord
from dfkd.search.selection import TieMargin, TrialScore, choose, estimate_tie_margin
from dfkd.search.trust import TrustReport, trust_report
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import to_dict
from dfkd.synthesis import METHOD_TITLES
from dfkd.tracking.card import StudentCard
from dfkd.tracking.protocol import Tracker
from dfkd.tracking.registry import RegisteredModel, register_student

if TYPE_CHECKING:
    from dfkd.jobs.search import Running

COLLAPSED_SHARE = 0.9  # of the probe that one class takes
CHANCE_MARGIN = 0.02


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a search ended with; scores are of the test split unless it has none, then empty."""

    record: TrialRecord
    scores: Mapping[str, float]
    floor_scores: Mapping[str, float]
    default_scores: Mapping[str, float]
    student_parameters: int
    teacher_parameters: int
    margin: TieMargin
    trust: TrustReport
    registered: RegisteredModel
    check: TrialRecord | None
    default_validation: float | None

    @property
    def model_uri(self) -> str:
        """Address of the registered version."""
        return self.registered.uri


def conclude(running: Running, parent: Tracker, floor: FloorRun | None, *, plan: TrialPlan) -> Outcome:
    """Choose, judge on the test split once, register, and record the story in the parent run."""
    space, console, materials = running.space, running.console, running.materials
    records = [record for record in running.records.all() if record.workers == plan.workers]
    num_classes = len(materials.teacher.class_names)
    scores = [trial_score(record, running.objective.metric, num_classes) for record in records]
    goal = space.settings.objective.goal
    eligible = [score.objective for score in scores if score.eligible and score.objective is not None]
    best = (max if goal == "maximize" else min)(eligible, default=0.0)
    margin = estimate_tie_margin(
        space.settings.objective,
        best=best,
        num_images=objective_images(running),
        configured=space.settings.tie_margin,
    )
    chosen = choose(scores, goal, margin.value)
    record = next(record for record in records if record.key == chosen.key)
    settings = plan.resolve(record.params)
    state = last_state(plan.trial_uri(settings), world_size=plan.workers)
    student = load_student(settings, materials.teacher, state)
    console.say(f"chosen: trial {record.number + 1}; judging it on the test split, once")
    default = next((r for r in records if r.is_default and r.status == "complete"), None)
    outcome_scores = judge(student, materials.teacher, running.data.test, settings.tasks)
    default_scores = outcome_scores if default is record else judge_record(default, plan, running)
    floor_scores: Mapping[str, float] = {}
    if floor is not None:
        floor_student = build_student(settings, materials.teacher)
        floor_student.load_state_dict(floor.student_state())
        floor_scores = judge(floor_student, materials.teacher, running.data.test, settings.tasks)
    card = make_card(running, settings, record, student, outcome_scores)
    registered = register_student(
        running.tracking_uri,
        space.settings.name,
        model=student,
        description=description_of(materials.teacher, architecture=settings.student.architecture),
        card=card,
        run_id=running.tracking.parent_run_id,
        promotion=space.settings.promotion,
    )
    outcome = Outcome(
        record=record,
        scores=outcome_scores,
        floor_scores=floor_scores,
        default_scores=default_scores,
        student_parameters=card.student_parameters,
        teacher_parameters=card.teacher_parameters,
        margin=margin,
        trust=trust_report(scores, chosen, goal, objective_name=space.settings.objective.metric),
        registered=registered,
        check=next((r for r in running.records.all() if r.workers != plan.workers), None),
        default_validation=default.metrics.get("val/accuracy/top1") if default else None,
    )
    parent.log_metrics({f"test/{name}": value for name, value in outcome_scores.items()}, step=0)
    parent.log_metrics({f"floor/{name}": value for name, value in floor_scores.items()}, step=0)
    parent.set_description(description(running, outcome))
    for name, content in search_artifacts(running, outcome, student).items():
        parent.log_artifact(name, content)
    return outcome


def objective_images(running: Running) -> int:
    """Return how many images the objective is computed on."""
    materials = running.materials
    if running.objective.metric.startswith("probe/"):
        return len(materials.probe.images) if materials.probe else 1
    return len(materials.validation) if materials.validation else 1


def trial_score(record: TrialRecord, objective: str, num_classes: int) -> TrialScore:
    """Return what selection needs of a record."""
    metrics = record.metrics
    chance = abs(metrics.get("probe/agreement", 1.0) - 1 / num_classes) <= CHANCE_MARGIN
    validation = metrics.get("val/binary/balanced_accuracy", metrics.get("val/accuracy/top1"))
    return TrialScore(
        key=record.key,
        params=record.params,
        is_default=record.is_default,
        completed=record.status == "complete",
        objective=metrics.get(objective),
        kd_loss=metrics.get("distillation/kd"),
        validation=validation,
        collapsed=chance or metrics.get("probe/top_class_share", 0.0) > COLLAPSED_SHARE,
    )


def judge_record(record: TrialRecord | None, plan: TrialPlan, running: Running) -> dict[str, float]:
    """Score the student of another trial, for comparison."""
    if record is None:
        return {}
    settings = plan.resolve(record.params)
    state = last_state(plan.trial_uri(settings), world_size=plan.workers)
    teacher = running.materials.teacher
    return judge(load_student(settings, teacher, state), teacher, running.data.test, settings.tasks)


def make_card(
    running: Running, settings: ExperimentSettings, record: TrialRecord, student: nn.Module, scores: Mapping[str, float]
) -> StudentCard:
    """Return the card of the chosen student."""
    teacher, objective = running.materials.teacher, running.space.settings.objective
    assert running.materials.probe is not None
    return StudentCard(
        method=METHOD_TITLES[settings.synthesis.method],
        teacher_name=teacher.architecture,
        teacher_hash=teacher.hash,
        teacher_shifted=teacher.shifted,
        teacher_parameters=count_parameters(teacher.model),
        student_parameters=count_parameters(student),
        settings=to_dict(settings),
        scores={f"test/{name}": value for name, value in scores.items()},
        selection_data=objective.needs,
        objective=objective.metric,
        objective_value=record.metrics[running.objective.metric],
        direction=objective.goal,
        probe_hash=probe_hash(running.materials.probe),
        seed=settings.seed,
        commit=commit(),
        versions=versions(),
    )

"""A student held against its teacher before it is used: verdict, report in MLflow, and a mark in the registry."""

from __future__ import annotations

import json
import time
from typing import Any

from dfkd.assembly import choose_device
from dfkd.data import ImageSet, load_dataset
from dfkd.jobs.command import open_output
from dfkd.jobs.console import Console
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.evaluate import describe, facts_of, split_of
from dfkd.jobs.evaluate_options import REGISTRY, EvaluateOptions
from dfkd.jobs.evaluated_networks import described, teacher_source
from dfkd.jobs.teacher import read_teacher
from dfkd.settings.acceptance import AcceptanceSettings
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import flatten, shareable, to_dict
from dfkd.tasks import TaskInput
from dfkd.tasks.acceptance import Acceptance, judge_acceptance
from dfkd.tasks.acceptance_report import to_markdown, to_plain, verdict
from dfkd.teachers import Teacher
from dfkd.tracking.acceptance_tags import mark_acceptance, pin_version
from dfkd.tracking.connection import check_reachable
from dfkd.tracking.home import open_home, resolve_tracking_uri
from dfkd.tracking.mlflow_tracker import MlflowTracking


def run_acceptance(
    settings: ExperimentSettings, rule: AcceptanceSettings, options: EvaluateOptions, console: Console
) -> bool:
    """Judge a student beside its teacher on one labelled split, record and print the report; return the verdict.

    A registered version gets the verdict as tags, which ``promote.py --require-acceptance`` reads.

    Raises:
        ValueError: student, teacher or labelled images cannot be had, or do not fit each other.
        ConnectionError: MLflow does not answer.
    """
    home = open_home(options.home)
    tracking_uri = resolve_tracking_uri(options.tracking_uri, home=home)
    json_file = open_output(options.json_file)
    check_reachable(tracking_uri)
    model = pin_version(tracking_uri, options.model) if options.model.startswith(REGISTRY) else options.model
    data = load_dataset(settings.dataset)
    images = split_of(data, options.split)
    images.require_labels()
    student = read_teacher(described(model, settings, tracking_uri), data, tracking_uri)
    student = student.without_class_names() if options.tracking.is_sensitive else student
    source = teacher_source(settings, options, data, tracking_uri)
    if source is None:
        raise ValueError("--teacher: no teacher is known to hold the student against. Name one with --teacher.")
    teacher = read_teacher(source, data, tracking_uri)
    found = _judge(student, teacher, images, settings, rule)
    facts = {"student": describe(student), "teacher": describe(teacher)}
    facts["images"] = f"{len(images):,} of {data.title}, {options.split} split"
    report = to_markdown(found, rule, facts=facts)
    dataset = shareable(options.tracking.told(settings))["dataset"]
    plain = to_plain(found, rule) | {"data": data.title, "split": options.split, "images": len(images)}
    plain |= {"student": facts_of(student), "teacher": facts_of(teacher), "dataset": dataset}
    plain |= {"images_hash": images.fingerprint(), "commit": commit(), "versions": versions()}
    run_key = f"accept-{student.hash[:16]}-{time.strftime('%Y%m%d-%H%M%S')}"
    with MlflowTracking(tracking_uri, home, run_key) as tracking:
        run = tracking.open_parent("acceptance", run_key, {"dfkd.kind": "acceptance", "dfkd.model": student.provenance})
        run.log_params(flatten({"acceptance": to_dict(rule)}) | {"commit": commit()})
        run.log_metrics(_numbers(found), step=0)
        run.log_artifact("acceptance.md", report.encode())
        run.log_artifact("acceptance.json", json.dumps(plain, indent=1).encode())
        run.set_description(report)
        run.set_tags({"dfkd.accepted": str(found.passed).lower()})
        if model.startswith(REGISTRY):
            marks = _marks(found, rule, teacher, plain, run_id=tracking.parent_run_id)
            mark_acceptance(tracking_uri, model, marks)
        run.close("FINISHED")
        url = tracking.run_url()
    console.show(report)
    console.show(f"{verdict(found, rule)}\nreport: {url}")
    if json_file:
        json_file.write_text(json.dumps(plain, indent=1))
    return found.passed


def _judge(
    student: Teacher, teacher: Teacher, images: ImageSet, settings: ExperimentSettings, rule: AcceptanceSettings
) -> Acceptance:
    device = choose_device(settings)
    given = TaskInput(
        student=student.model.to(device).eval(),
        teacher=teacher.model.to(device).eval(),
        images=images,
        normalise=student.normalise,
        teacher_normalise=teacher.normalise,
        device=device,
    )
    return judge_acceptance(given.student_logits, given.teacher_logits, given.labels, student.class_names, rule)


def _numbers(found: Acceptance) -> dict[str, float]:
    numbers = {f"acceptance/{name}": value for name, value in found.scores.items()}
    numbers |= {f"acceptance/check/{check.name}": check.value for check in found.checks}
    return numbers | {
        "acceptance/difference": found.difference.estimate,
        "acceptance/lower_limit": found.difference.lower_limit,
        "acceptance/passed": float(found.passed),
    }


def _marks(
    found: Acceptance, rule: AcceptanceSettings, teacher: Teacher, plain: dict[str, Any], *, run_id: str
) -> dict[str, str]:
    return {
        "acceptance": "passed" if found.passed else "failed",
        "acceptance_teacher": teacher.hash,
        "acceptance_rule": f"{rule.metric}, margin {rule.margin:g}, confidence {rule.confidence:g}",
        "acceptance_images": f"{plain['images']} of {plain['data']}, {plain['split']} ({plain['images_hash']})",
        "acceptance_run": run_id,
    }

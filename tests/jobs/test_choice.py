"""Which trial of a search is chosen: alone, in a tie, of a front."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest

from dfkd.jobs.choice import trial_score
from dfkd.jobs.last_screen import last_screen
from dfkd.jobs.outcome_file import outcome_as_json
from dfkd.jobs.story import description
from dfkd.jobs.trial_records import TrialRecord
from dfkd.tracking.connection import import_mlflow

TWO_OBJECTIVES = "further_objectives: {size: {type: cost, of: parameters}}\n"


@pytest.mark.parametrize(
    ("agreement", "share", "collapsed"),
    [(0.03, 0.3, True), (0.1, 0.3, True), (0.12, 0.3, True), (0.13, 0.3, False), (0.9, 0.89, False), (0.9, 0.91, True)],
)
def test_a_student_no_better_than_chance_or_of_one_class_has_collapsed(
    agreement: float, share: float, collapsed: bool
) -> None:
    metrics = {"probe/agreement": agreement, "probe/top_class_share": share}
    record = TrialRecord(key="a", number=0, params={}, workers=1, seed=0, is_default=False, metrics=metrics)
    assert trial_score(record, "probe/agreement", num_classes=10).collapsed is collapsed


def test_a_tie_goes_to_the_default_settings(ended: Callable[..., Any]) -> None:
    search = ended()
    search.record(search.wider, probe__agreement=0.55)
    search.record(search.default, probe__agreement=0.5)
    outcome = search.conclude()
    assert outcome.choice.record.params == search.default
    assert outcome.choice.margin.value > 0.05
    assert outcome.choice.best.params == search.wider


def test_what_differs_less_than_two_seeds_of_the_default_settings_is_a_tie(ended: Callable[..., Any]) -> None:
    """And another seed of them is never chosen itself, however lucky it was."""
    search = ended()
    search.record(search.default, probe__agreement=0.5)
    search.record(search.wider, probe__agreement=0.95)
    search.record(search.default, seed=1, probe__agreement=0.99)
    outcome = search.conclude()
    assert (outcome.choice.record.params, outcome.choice.record.seed) == (search.default, 0)
    assert outcome.choice.margin.source == "spread of the default settings over 2 seeds, a rough figure from so few"
    assert outcome.choice.trust.num_trials == 2


def test_the_trust_report_is_about_the_choice_without_labels(ended: Callable[..., Any]) -> None:
    """Whatever chose: held against itself, the validation accuracy would look perfect."""
    search = ended("val_accuracy")
    search.record(search.default, probe__agreement=0.1, val__accuracy__top1=0.3)
    search.record(search.wider, probe__agreement=0.9, val__accuracy__top1=0.2)
    search.record(search.faster, probe__agreement=0.2, val__accuracy__top1=0.9)
    outcome = search.conclude()
    assert outcome.choice.record.params == search.faster
    trust = outcome.choice.trust
    assert (trust.objective_name, trust.regret_selected) == ("agreement", 0.0)
    assert trust.regret_chosen == pytest.approx(0.7)  # the probe would have taken the wider one
    assert trust.regret_default == pytest.approx(0.6)


def test_the_rule_of_a_front_decides_which_student_is_registered(ended: Callable[..., Any]) -> None:
    search = ended(extra=f"{TWO_OBJECTIVES}front: {{rule: limits, limits: {{size: 50_000}}}}\n")
    search.record(search.default, probe__agreement=0.5, further__size=11_000)
    search.record(search.wider, probe__agreement=0.9, further__size=75_000)
    search.record(search.faster, probe__agreement=0.6, further__size=11_000)
    outcome = search.conclude()
    front = outcome.choice.front
    assert front is not None
    assert [front.points[key]["size"] for key in front.keys] == [75_000, 11_000]
    assert outcome.choice.record.params == search.faster
    assert outcome.student_parameters < 50_000
    assert not outcome.registered.promoted  # a person decides which point of a front is champion
    assert "one point of a front" in outcome.registered.reason

    said = description(search.running, outcome)
    assert "2 of 3 trials are dominated by no other. Registered by the rule `limits` (size 50000)." in said
    assert "The default settings are dominated by it." in said
    assert "| 3 (registered) | 0.6 | 11000 | architecture digits_student, learning_rate 0.3 |" in said
    shown = last_screen(outcome, tracking_uri="u", run_url="r", seconds=1)
    assert "* agreement 0.6, size 11000" in shown
    plain = json.loads(outcome_as_json(search.running, outcome, seconds=1))["front"]
    assert plain["registered"] == outcome.choice.record.key
    assert [point["agreement"] for point in plain["points"]] == [0.9, 0.6]

    client, run_id = import_mlflow().MlflowClient(search.running.tracking_uri), search.running.tracking.parent_run_id
    search.running.tracking.flush()
    plots = {file.path for file in client.list_artifacts(run_id, "plots")}
    assert "plots/pareto_front.html" in plots
    table = pq.read_table(client.download_artifacts(run_id, "pareto_front.parquet")).to_pylist()
    assert [(row["size"], row["on_front"], row["registered"]) for row in table] == [
        (11_000, False, False), (75_000, True, False), (11_000, True, True),
    ]  # fmt: skip


def test_a_limit_that_no_student_keeps_is_said(ended: Callable[..., Any]) -> None:
    search = ended(extra=f"{TWO_OBJECTIVES}front: {{rule: limits, limits: {{size: 1000}}}}\n")
    search.record(search.default, further__size=11_000)
    with pytest.raises(ValueError, match=r"no point of the front keeps size 1000 \(the best is 11000\)"):
        search.conclude()

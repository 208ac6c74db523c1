"""What a listener hears of Ray Tune, and what Ray Tune keeps. `test_ray.py` has both of a real search."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from ray.tune.experiment import Trial

from dfkd.cluster.trial import FAILURE_KEY
from dfkd.cluster.trial_events import TrialEvents
from dfkd.cluster.worker import PREVIEW_KEY


class Heard:
    """Writes down the reports that it hears."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []

    def started(self, params: dict[str, Any]) -> None: ...

    def reported(self, params: dict[str, Any], report: dict[str, Any]) -> None:
        self.reports.append(report)

    def ended(self, params: dict[str, Any], *, error: str | None, lost: bool = False) -> None: ...


def hear(result: dict[str, Any]) -> list[dict[str, Any]]:
    heard = Heard()
    trial: Any = SimpleNamespace(config={})
    TrialEvents(heard).on_trial_result(0, [trial], trial, result)
    return heard.reports


def test_a_report_is_heard_without_what_ray_tune_adds() -> None:
    result = {"epoch": 3, "probe/agreement": 0.5, "config/learning_rate": 0.1, "pid": 7, "done": False}
    assert hear(result) == [{"epoch": 3, "probe/agreement": 0.5}]


def test_a_failure_is_no_report() -> None:
    assert hear({FAILURE_KEY: "it diverged", "probe/agreement": float("nan")}) == []


def test_a_picture_is_heard_and_then_kept_by_nobody() -> None:
    """Ray Tune keeps the last result of every trial, as it stands after the callbacks."""
    result = {"epoch": 3, "finished": True, PREVIEW_KEY: "iVBORw0KGgo"}
    (report,) = hear(result)
    assert report[PREVIEW_KEY] == "iVBORw0KGgo"
    assert result == {"epoch": 3, "finished": True}


def test_ray_tune_keeps_a_result_as_its_callbacks_leave_it() -> None:
    """It may change: then pictures would fill the driver's memory again."""
    trial = Trial("nothing", stub=True)
    result = {"epoch": 3, PREVIEW_KEY: "iVBORw0KGgo", "training_iteration": 1}
    hear(result)
    trial.update_last_result(result)
    assert PREVIEW_KEY not in trial.last_result
    assert PREVIEW_KEY not in json.dumps(trial.get_json_state())

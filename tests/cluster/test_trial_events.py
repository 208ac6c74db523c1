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
    TrialEvents(heard, compared_by=["probe/agreement"]).on_trial_result(0, [trial], trial, result)
    return heard.reports


def test_a_report_is_heard_without_what_ray_tune_adds() -> None:
    result = {"epoch": 3, "probe/agreement": 0.5, "config/learning_rate": 0.1, "pid": 7, "done": False}
    assert hear(result) == [{"epoch": 3, "probe/agreement": 0.5}]


def test_a_failure_is_no_report() -> None:
    assert hear({FAILURE_KEY: "it diverged", "probe/agreement": float("nan")}) == []


def test_what_was_heard_is_kept_by_nobody_but_for_what_trials_are_compared_by() -> None:
    """Ray Tune keeps the last result of every trial, as it stands after the callbacks."""
    kept = {"epoch": 3, "finished": True, "probe/agreement": 0.5, "pid": 7, "config/learning_rate": 0.1}
    heard = {"loss/kd": 0.2, "time/epoch_seconds": 3.0, PREVIEW_KEY: "iVBORw0KGgo", "device": "cpu", "warning": "so"}
    result = kept | heard
    (report,) = hear(result)
    assert report.keys() == heard.keys() | {"epoch", "finished", "probe/agreement"}
    assert result == kept


def test_ray_tune_keeps_a_result_as_its_callbacks_leave_it() -> None:
    """That callbacks get the result itself and no copy is for a real search to show (``test_ray.py``)."""
    trial = Trial("nothing", stub=True)
    result = {"epoch": 3, "loss/kd": 0.2, PREVIEW_KEY: "iVBORw0KGgo", "training_iteration": 1}
    hear(result)
    trial.update_last_result(result)
    assert trial.last_result["epoch"] == 3
    for key in ("loss/kd", PREVIEW_KEY):
        assert key not in trial.last_result
        assert key not in json.dumps(trial.get_json_state())

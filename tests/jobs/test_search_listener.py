from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dfkd.jobs.console import Console
from dfkd.jobs.search_listener import PREVIEW_KEY, SearchListener, run_name
from dfkd.jobs.trial_records import TrialRecords
from dfkd.search.load import load_space
from dfkd.search.space import SearchSpace

SMOKE = Path(__file__).parents[2] / "search_spaces" / "smoke.yaml"
PNG = b"\x89PNG\r\n\x1a\nrest"
RATE, KIND = "distillation.learning_rate", "synthesis.contrast.kind"


class Recording:
    """A tracking that writes down what its runs are told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Any]] = []

    def open_child(self, run_key: str, run_name: str, tags: Mapping[str, str]) -> RecordingRun:
        self.told.append((run_key, "open", (run_name, dict(tags))))
        return RecordingRun(run_key, self.told)

    def of(self, what: str) -> list[Any]:
        return [content for _, kind, content in self.told if kind == what]


class RecordingRun:
    def __init__(self, key: str, told: list[tuple[str, str, Any]]) -> None:
        self._key, self._told = key, told

    def log_params(self, params: Mapping[str, object]) -> None:
        self._told.append((self._key, "params", dict(params)))

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        self._told.append((self._key, "metrics", (step, dict(metrics))))

    def log_image(self, key: str, png: bytes, *, step: int) -> None:
        self._told.append((self._key, "image", (key, png, step)))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self._told.append((self._key, "tags", dict(tags)))

    def close(self, status: str) -> None:
        self._told.append((self._key, "close", status))


class Stage:
    """A listener with all that it tells things to."""

    def __init__(self, folder: Path, *, space: SearchSpace | None = None) -> None:
        self.space = space or load_space(str(SMOKE), [])
        self.records, self.tracking, self.stream = TrialRecords(folder), Recording(), io.StringIO()
        self.listener = SearchListener(
            resolve=self.space.resolve,
            defaults=self.space.defaults(),
            objective="probe/agreement",
            better=lambda first, second: first > second,
            records=self.records,
            tracking=self.tracking,  # type: ignore[arg-type]
            console=Console(self.stream),
            planned=3,
        )

    @property
    def lines(self) -> list[str]:
        return [line.split("] ", 1)[1] for line in self.stream.getvalue().splitlines()]

    def run(self, params: dict[str, Any], agreements: list[float], *, error: str | None = None) -> None:
        self.listener.started(params)
        for epoch, agreement in enumerate(agreements):
            report = {"epoch": epoch, "probe/agreement": agreement, "finished": epoch == 2, "note": "text"}
            self.listener.reported(params, report)
        self.listener.ended(params, error=error)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_trial_is_one_run_from_start_to_end(stage: Stage) -> None:
    params = {RATE: 0.2, KIND: "none"}
    stage.run(params, [0.1, 0.2, 0.3])
    (key,) = {run_key for run_key, _, _ in stage.tracking.told}
    assert stage.tracking.of("open")[0][0] == "cae learning_rate=0.2 kind=none"
    assert stage.tracking.of("params")[0][RATE] == 0.2
    assert stage.tracking.of("metrics") == [
        (epoch, {"probe/agreement": value}) for epoch, value in ((0, 0.1), (1, 0.2), (2, 0.3))
    ]
    assert stage.tracking.of("close") == ["FINISHED"]
    record = stage.records.get(key)
    assert record is not None
    assert (record.status, record.params, record.number) == ("complete", params, 0)
    assert record.metrics == {"probe/agreement": 0.3, "epoch": 2, "finished": True}
    assert stage.lines[0] == "trial 1/3 starts: cae learning_rate=0.2 kind=none"
    assert stage.lines[-1].startswith("trial 1/3 complete: agreement 0.3000 | about ")


def test_a_trial_that_ended_before_its_last_epoch_was_stopped_early(stage: Stage) -> None:
    stage.run({RATE: 0.2, KIND: "none"}, [0.1, 0.2])
    assert [record.status for record in stage.records.all()] == ["stopped"]
    assert stage.tracking.of("close") == ["FINISHED"]


def test_a_failed_trial_keeps_its_error(stage: Stage) -> None:
    stage.run({RATE: 0.2, KIND: "none"}, [0.1], error="epoch 1: distillation/kd is nan.")
    (record,) = stage.records.all()
    assert (record.status, record.error) == ("failed", "epoch 1: distillation/kd is nan.")
    assert stage.tracking.of("close") == ["FAILED"]
    assert stage.tracking.of("tags") == [{"dfkd.status": "failed", "dfkd.error": "epoch 1: distillation/kd is nan."}]
    assert "trial 1/3 failed: epoch 1: distillation/kd is nan." in stage.lines[-1]


def test_the_default_settings_are_known_by_their_values(stage: Stage) -> None:
    stage.run(stage.space.defaults(), [0.1, 0.2, 0.3])
    assert stage.records.all()[0].is_default
    assert stage.lines[0] == "trial 1/3 starts: cae default settings"


def test_a_trial_that_starts_again_goes_on_under_its_number_and_key(stage: Stage, tmp_path: Path) -> None:
    stage.run({RATE: 0.1, KIND: "none"}, [0.1, 0.2, 0.3])
    stage.listener.started({RATE: 0.2, KIND: "none"})  # and then the driver dies
    resumed = Stage(tmp_path)
    resumed.run({RATE: 0.2, KIND: "none"}, [0.4, 0.5, 0.6])
    resumed.run({RATE: 0.3, KIND: "none"}, [0.4, 0.5, 0.6])
    assert [(r.number, r.params[RATE], r.status) for r in resumed.records.all()] == [
        (0, 0.1, "complete"),
        (1, 0.2, "complete"),
        (2, 0.3, "complete"),
    ]
    assert resumed.tracking.told[0][0] == stage.tracking.told[-1][0]  # the same run


def test_previews_become_pictures_of_their_epoch(stage: Stage) -> None:
    params = {RATE: 0.2, KIND: "none"}
    stage.listener.started(params)
    encoded = base64.b64encode(PNG).decode()
    stage.listener.reported(params, {"epoch": 1, "probe/agreement": 0.5, PREVIEW_KEY: encoded})
    assert stage.tracking.of("image") == [("synthetic images", PNG, 1)]
    assert PREVIEW_KEY not in stage.tracking.of("metrics")[0][1]


def test_progress_names_epoch_value_and_the_best_so_far(stage: Stage) -> None:
    stage.run({RATE: 0.1, KIND: "none"}, [0.1, 0.2, 0.75])
    stage.listener._last_line = float("-inf")
    params = {RATE: 0.2, KIND: "none"}
    stage.listener.started(params)
    stage.listener.reported(params, {"epoch": 1, "probe/agreement": 0.5})
    assert stage.lines[-1].startswith("trial 2/3 epoch 2/3: agreement 0.5000 | best so far 0.7500 | about ")


def test_a_run_of_two_workers_says_so() -> None:
    assert run_name("cae", {}, is_default=True, workers=2) == "cae default settings, 2 workers"

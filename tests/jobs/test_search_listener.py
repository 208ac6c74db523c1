from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dfkd.cluster.trial import TrialPlan
from dfkd.cluster.worker import PREVIEW_KEY, WARNING_KEY
from dfkd.jobs.console import Console
from dfkd.jobs.search_listener import SearchListener
from dfkd.jobs.trial_records import TrialRecords
from dfkd.search.load import load_space
from dfkd.tracking.connection import import_mlflow
from dfkd.tracking.mlflow_tracker import MlflowTracking

SMOKE = Path(__file__).parents[2] / "search_spaces" / "smoke.yaml"
RATE, KIND = "distillation.learning_rate", "synthesis.contrast.kind"
FIRST, SECOND = {RATE: 0.2, KIND: "none"}, {RATE: 0.3, KIND: "none"}


class Stage:
    """A listener with all that it tells things to: a search of the smoke space, three epochs a trial."""

    def __init__(self, home: Path, search_id: str, phase: str = "workers=1", student_epochs: int | None = None) -> None:
        self.uri, self.search_id = f"sqlite:///{home}/mlflow.db", search_id
        self.space = load_space(str(SMOKE), [phase])
        self.records, self.stream = TrialRecords(home / search_id), io.StringIO()
        self.tracking = MlflowTracking(self.uri, home, search_id)
        self.tracking.open_parent("smoke", search_id, {"dfkd.kind": "search"})
        self.listener = SearchListener(
            plan=TrialPlan(
                space=self.space,
                storage=str(home),
                workers=self.space.resolve({}).workers,
                image_every=0,
                student_epochs=student_epochs,
            ),
            check_epochs=2,
            defaults=self.space.defaults(),
            objective="probe/agreement",
            better=lambda first, second: first > second,
            records=self.records,
            tracking=self.tracking,
            console=Console(self.stream),
            planned=3,
            searched=load_space(str(SMOKE), []).resolve,
        )

    @property
    def lines(self) -> list[str]:
        return [line.split("] ", 1)[1] for line in self.stream.getvalue().splitlines()]

    @property
    def client(self) -> Any:
        return import_mlflow().MlflowClient(self.uri)

    def runs(self) -> list[Any]:
        """Return the trials' runs, oldest first, as MLflow has them."""
        assert self.tracking.flush()
        (experiment,) = (each for each in self.client.search_experiments() if each.name == "smoke")
        which = f"tags.\"dfkd.search_id\" = '{self.search_id}' and tags.\"dfkd.kind\" = 'trial'"
        return list(self.client.search_runs([experiment.experiment_id], which, order_by=["start_time ASC"]))

    def points(self, run: Any, name: str = "probe/agreement") -> list[tuple[int, float]]:
        return sorted((point.step, point.value) for point in self.client.get_metric_history(run.info.run_id, name))

    def report(self, params: dict[str, Any], epoch: int, agreement: float, **more: Any) -> None:
        report = {"epoch": epoch, "probe/agreement": agreement, "finished": epoch == 2, "note": "text"}
        self.listener.reported(params, report | more)

    def run(self, params: dict[str, Any], agreements: list[float], *, error: str | None = None) -> None:
        self.listener.started(params)
        for epoch, agreement in enumerate(agreements):
            self.report(params, epoch, agreement)
        self.listener.ended(params, error=error)


@pytest.fixture
def make_stage(home: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Stage]]:
    """Make the stage of a driver, its search named after the test; a second goes on with the search of the first."""
    stages: list[Stage] = []

    def make(phase: str = "workers=1", student_epochs: int | None = None) -> Stage:
        for stage in stages:
            stage.tracking.close()
        stages.append(Stage(home, re.sub(r"\W+", "-", request.node.name), phase, student_epochs))
        return stages[-1]

    yield make
    stages[-1].tracking.close()


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> Stage:
    return make_stage()


def test_a_trial_is_one_run_from_start_to_end(stage: Stage) -> None:
    stage.run(FIRST, [0.1, 0.2, 0.3])
    (run,) = stage.runs()
    assert run.info.run_name == "cae lr=0.2 kind=none"
    assert run.data.params[RATE] == "0.2"
    assert stage.points(run) == [(0, 0.1), (1, 0.2), (2, 0.3)]
    assert set(run.data.metrics) == {"probe/agreement"}
    assert (run.info.status, run.data.tags["dfkd.status"]) == ("FINISHED", "complete")
    (record,) = stage.records.all()
    assert (record.status, record.params, record.number) == ("complete", FIRST, 0)
    assert record.metrics == {"probe/agreement": 0.3, "epoch": 2, "finished": True}
    assert stage.lines[0] == "trial 1/3 starts: cae lr=0.2 kind=none"
    assert stage.lines[-1].startswith("trial 1/3 complete: agreement 0.3000 | about ")


def test_a_trial_tells_its_device_and_what_it_waited_for(stage: Stage) -> None:
    stage.listener.started(FIRST)
    (record,) = stage.records.all()
    stage.listener._begun[record.key] -= 30  # so long ago
    stage.report(FIRST, 0, 0.1, **{"device": "cuda (a GPU)", "time/elapsed_seconds": 8.0})
    stage.listener._begun[record.key] -= 50
    stage.report(FIRST, 1, 0.2, **{"device": "cuda (a GPU)", "time/elapsed_seconds": 58.0})
    (record,) = stage.records.all()
    assert record.startup_seconds is not None and 22 <= record.startup_seconds < 40  # 30 s, 8 of them the epoch
    assert record.first_report_seconds is not None and record.first_report_seconds < 60
    (run,) = stage.runs()
    assert run.data.tags["device"] == record.device == "cuda (a GPU)"
    assert "device" not in run.data.metrics


def test_a_trial_that_ended_before_its_last_epoch_was_stopped_early(stage: Stage) -> None:
    stage.run(FIRST, [0.1, 0.2])
    assert [record.status for record in stage.records.all()] == ["stopped"]
    (run,) = stage.runs()
    assert (run.info.status, run.data.tags["dfkd.status"]) == ("FINISHED", "stopped")


def test_a_failed_trial_keeps_its_error(stage: Stage) -> None:
    error = "epoch 1: distillation/kd is nan."
    stage.run(FIRST, [0.1], error=error)
    (record,) = stage.records.all()
    assert (record.status, record.error) == ("failed", error)
    (run,) = stage.runs()
    assert (run.info.status, run.data.tags["dfkd.status"], run.data.tags["dfkd.error"]) == ("FAILED", "failed", error)
    assert stage.lines[-1] == f"trial 1/3 failed: {error}"  # how long others take is not known from it


def test_the_default_settings_are_known_by_their_values(stage: Stage) -> None:
    stage.run(stage.space.defaults(), [0.1, 0.2, 0.3])
    assert stage.records.all()[0].is_default
    assert stage.lines[0] == "trial 1/3 starts: cae default settings"


def test_a_trial_whose_process_was_lost_goes_on_in_its_run(stage: Stage) -> None:
    stage.listener.started(FIRST)
    stage.report(FIRST, 0, 0.1)
    stage.listener._begun[stage.records.all()[0].key] -= 100  # what it has run so far
    stage.run(FIRST, [0.1, 0.2, 0.3])
    name = "cae lr=0.2 kind=none"
    assert [line for line in stage.lines if name in line] == [f"trial 1/3 starts: {name}", f"trial 1/3 goes on: {name}"]
    (run,) = stage.runs()
    assert stage.points(run) == [(0, 0.1), (1, 0.2), (2, 0.3)]
    (record,) = stage.records.all()
    assert record.status == "complete"
    assert 100 <= record.seconds < 160


def test_a_trial_of_a_driver_that_died_goes_on_under_its_number_and_in_its_run(
    make_stage: Callable[..., Stage],
) -> None:
    before = make_stage()
    before.run(SECOND, [0.1, 0.2, 0.3])
    before.listener.started(FIRST)
    before.listener._begun[before.records.all()[1].key] -= 100
    before.report(FIRST, 0, 0.4)  # and then the driver dies
    resumed = make_stage()
    resumed.run(FIRST, [0.4, 0.5, 0.6])
    resumed.run({RATE: 0.1, KIND: "none"}, [0.4, 0.5, 0.6])
    assert [(r.number, r.params[RATE], r.status) for r in resumed.records.all()] == [
        (0, 0.3, "complete"),
        (1, 0.2, "complete"),
        (2, 0.1, "complete"),
    ]
    assert resumed.records.all()[1].seconds > 100
    assert [run.data.tags["dfkd.trial"] for run in resumed.runs()] == ["0", "1", "2"]
    assert {run.info.status for run in resumed.runs()} == {"FINISHED"}


def test_previews_become_pictures_of_their_epoch(stage: Stage) -> None:
    from PIL import Image

    picture = io.BytesIO()
    Image.new("L", (40, 20), 128).save(picture, "PNG")
    stage.listener.started(FIRST)
    stage.report(FIRST, 1, 0.5, **{PREVIEW_KEY: base64.b64encode(picture.getvalue()).decode()})
    (run,) = stage.runs()
    files = [info.path for info in stage.client.list_artifacts(run.info.run_id, "images")]
    assert [file for file in files if "step+1+" in file and file.endswith(".png")]
    assert set(run.data.metrics) == {"probe/agreement"}


def test_what_a_worker_warns_of_is_told(stage: Stage) -> None:
    stage.listener.started(FIRST)
    stage.report(FIRST, 1, 0.5, **{WARNING_KEY: "the checkpoint is damaged"})
    assert "trial 1/3 warning: the checkpoint is damaged" in stage.lines


def progress_line(stage: Stage, params: dict[str, Any], epoch: int, agreement: float) -> str:
    """Return what is printed at a report that comes long enough after the last line."""
    stage.listener._last_line = float("-inf")
    stage.report(params, epoch, agreement)
    return stage.lines[-1]


def test_progress_names_epoch_value_and_the_best_so_far(stage: Stage) -> None:
    stage.listener.started(FIRST)
    assert progress_line(stage, FIRST, 0, 0.1).startswith("trial 1/3 epoch 1/3: filling the image bank | about ")
    assert progress_line(stage, FIRST, 1, 0.7).startswith("trial 1/3 epoch 2/3: agreement 0.7000 | about ")
    stage.report(FIRST, 2, 0.75)
    stage.listener.ended(FIRST, error=None)
    stage.listener.started(SECOND)
    line = progress_line(stage, SECOND, 1, 0.5)
    assert line.startswith("trial 2/3 epoch 2/3: agreement 0.5000 | best so far 0.7500 | about ")


def take(stage: Stage, params: dict[str, Any], *, seconds: float) -> str:
    """Run a trial of so many seconds, and return the last line."""
    stage.listener.started(params)
    stage.report(params, 2, 0.5)
    stage.listener._begun[stage.records.all()[-1].key] -= seconds
    stage.listener.ended(params, error=None)
    return stage.lines[-1]


def test_the_time_left_is_of_what_is_left_to_run(stage: Stage) -> None:
    assert re.search(r" \| about 10m 0\ds left$", take(stage, FIRST, seconds=300.5))  # two trials of 300 s, one by one
    stage.listener.started(SECOND)
    assert re.search(r" \| about 6m 4\ds left$", progress_line(stage, SECOND, 1, 0.5))  # a third of one, and another


def test_before_a_trial_has_ended_its_epochs_say_how_long_it_takes(stage: Stage) -> None:
    stage.listener.started(FIRST)
    assert stage.lines[-1].startswith("trial 1/3 starts:") and "left" not in stage.lines[-1]
    stage.listener._begun[stage.records.all()[-1].key] -= 100.5
    line = progress_line(stage, FIRST, 0, 0.1)  # a third of the first of three, one by one
    assert re.search(r" \| about 13m 2\ds left$", line), line


def test_a_slow_start_is_not_taken_for_slow_epochs(stage: Stage) -> None:
    stage.listener.started(FIRST)
    record = stage.records.all()[-1]
    stage.listener._begun[record.key] -= 100.5
    record.startup_seconds = 70.0  # and 30 s for a third of the trial: it will take 160 s, and two more do
    line = progress_line(stage, FIRST, 0, 0.1)
    assert re.search(r" \| about 7m 1\ds left$", line), line


def test_trials_that_run_together_share_the_time(stage: Stage) -> None:
    stage.listener.started(SECOND)
    assert re.search(
        r" \| about 5m 0\ds left$", take(stage, FIRST, seconds=300.5)
    )  # one runs, and one has room beside it


def test_a_lost_trial_is_told_apart_from_a_failed_one(stage: Stage) -> None:
    for params, lost in ((FIRST, True), (SECOND, False)):
        stage.listener.started(params)
        stage.listener.ended(params, error="why", lost=lost)
    assert [record.status for record in stage.records.all()] == ["lost", "failed"]
    assert [line.partition(": ")[0] for line in stage.lines[-3::2]] == ["trial 1/3 lost", "trial 2/3 failed"]
    assert [run.info.status for run in stage.runs()] == ["FAILED", "FAILED"]


def test_the_run_with_two_workers_measures_the_others_until_one_of_them_does(make_stage: Callable[..., Stage]) -> None:
    check = make_stage("workers=2")
    take(check, check.space.defaults(), seconds=3000.5)
    assert re.search(r"trial 1/3 complete: agreement 0.5000 \| about 1h 40m left$", check.lines[-1]), check.lines[-1]
    stage = make_stage()
    stage.listener.started(FIRST)
    assert progress_line(stage, FIRST, 1, 0.1).startswith("trial 2/3 epoch 2/3: agreement 0.1000 | about ")
    stage.listener.ended(FIRST, error="lost")
    assert take(stage, SECOND, seconds=3).endswith("trial 3/3 complete: agreement 0.5000")


@pytest.mark.parametrize(
    ("phase", "name"),
    [
        ("workers=1", "cae default settings"),
        ("workers=2", "cae default settings, 2 workers"),
        ("seed=1", "cae default settings, seed 1"),
    ],
)
def test_default_settings_say_what_they_differ_in(make_stage: Callable[..., Stage], phase: str, name: str) -> None:
    stage = make_stage(phase)
    stage.listener.started(stage.space.defaults())
    assert stage.lines == [f"trial 1/3 starts: {name}"]


def test_the_run_with_two_workers_ends_where_it_is_compared(make_stage: Callable[..., Stage]) -> None:
    check = make_stage("workers=2", student_epochs=1)
    default = check.space.defaults()
    check.listener.started(default)
    assert progress_line(check, default, 0, 0.1).startswith("trial 1/3 epoch 1/2: filling the image bank | about ")
    check.report(default, 1, 0.4)
    check.listener.ended(default, error=None)
    search = make_stage()
    search.run(default, [0.1, 0.5, 0.6])
    two_workers, one_worker = search.records.all()
    assert (two_workers.status, two_workers.metrics["probe/agreement"]) == ("complete", 0.4)  # as planned
    assert (one_worker.status, one_worker.metrics["probe/agreement"]) == ("complete", 0.6)
    assert one_worker.metrics_at_check is not None
    assert one_worker.metrics_at_check["probe/agreement"] == 0.5  # after as many epochs as the other had


def test_a_trials_run_names_no_place_on_this_machine(home: Path) -> None:
    stage = Stage(home, "places", "dataset.path=/home/jane/digits")
    stage.run(FIRST, [0.1, 0.2, 0.3])
    (run,) = stage.runs()
    assert run.data.params["dataset.path"] == "digits"
    assert "jane" not in str(run)
    stage.tracking.close()

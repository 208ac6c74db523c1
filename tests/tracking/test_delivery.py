"""Against a real MLflow server that dies in mid-run and comes back: one story, and what must be true of it."""

from __future__ import annotations

import logging
import runpy
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dfkd.tracking import delivery
from dfkd.tracking.connection import check_reachable, import_mlflow
from dfkd.tracking.delivery import steps
from dfkd.tracking.journal import Event
from dfkd.tracking.mlflow_tracker import MlflowTracking

DELIVER = Path(__file__).parents[2] / "experiments" / "deliver.py"


@dataclass
class Story:
    """What happened to two searches in one outage: one lived through it, one ended in it."""

    uri: str
    ended_journal: Path
    slowest_call: float = 0.0
    warnings: list[str] = field(default_factory=list)
    lived_left: str | None = ""
    ended_left: str | None = ""
    ended_seconds: float = 0.0
    deliver_exits: list[object] = field(default_factory=list)

    def run(self, search_id: str, name: str) -> Any:
        client = self.client
        ids = [experiment.experiment_id for experiment in client.search_experiments()]
        runs = client.search_runs(ids, f"tags.\"dfkd.search_id\" = '{search_id}' and attributes.run_name = '{name}'")
        assert len(runs) == 1, [run.info.run_name for run in runs]
        return runs[0]

    @property
    def client(self) -> Any:
        return import_mlflow().MlflowClient(self.uri)


def _deliver(journal: Path) -> object:
    """Run the script as a person would and return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(DELIVER), str(journal)])
        patch.syspath_prepend(str(DELIVER.parent))
        try:
            runpy.run_path(str(DELIVER), run_name="__main__")
        except SystemExit as left:
            return left.code
    return 0


@pytest.fixture(scope="module")
def story(server: Any, tmp_path_factory: pytest.TempPathFactory, png: bytes) -> Iterator[Story]:
    home = tmp_path_factory.mktemp("home")
    server.start()
    check_reachable(server.uri)
    lived = MlflowTracking(server.uri, home, "lived")
    ended = MlflowTracking(server.uri, home, "ended")
    story = Story(server.uri, ended.journal_folder)
    logger = logging.getLogger(delivery.__name__)
    handler = logging.Handler()
    handler.emit = lambda record: story.warnings.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery, "RETRY_SECONDS", (0.2, 0.5))
        _live_through_an_outage(story, server, lived, ended, png)
    logger.removeHandler(handler)
    yield story


def _live_through_an_outage(
    story: Story, server: Any, lived: MlflowTracking, ended: MlflowTracking, png: bytes
) -> None:
    lived_parent, _ = lived.open_parent("outage", "parent", {}), ended.open_parent("outage", "parent", {})
    first, child = lived.open_child("0", "first", {}), ended.open_child("0", "child", {})
    child.log_metrics({"loss": 1.0}, step=0)
    for step in range(25):
        if step == 5:
            assert ended.flush()
            server.kill()
        start = time.monotonic()
        first.log_metrics({"loss": 0.5, "other": float(step)}, step=step)
        if step >= 5:
            first.log_image("grid", png, step=step)
            story.slowest_call = max(story.slowest_call, time.monotonic() - start)
    first.close("FINISHED")
    second = lived.open_child("1", "second", {})  # a trial that begins while the server is away
    second.log_params({"seed": 1})
    assert not lived.flush(timeout_seconds=1)

    child.log_metrics({"loss": 0.5}, step=1)
    child.log_image("grid", png, step=1)
    child.close("FINISHED")
    start = time.monotonic()
    story.ended_left = ended.close(unfinished="FAILED", timeout_seconds=2)
    story.ended_seconds = time.monotonic() - start
    story.deliver_exits.append(_deliver(story.ended_journal))

    server.start()
    second.log_artifact("plots/history.html", b"<html>")
    second.close("FAILED")
    lived_parent.close("FINISHED")
    story.lived_left = lived.close(timeout_seconds=60)
    story.deliver_exits += [_deliver(story.ended_journal), _deliver(story.ended_journal)]


def test_a_run_keeps_its_order_and_shares_requests() -> None:
    told = "a open, b open, a params, b metrics, a metrics, a image, a metrics, a tags, a close".split(", ")
    events = [Event(*text.split(), content={}, time_ms=number) for number, text in enumerate(told)]  # type: ignore[arg-type, misc]
    assert [[event.time_ms for event in step] for step in steps(events)] == [[0], [2, 4], [5], [6, 7], [8], [1], [3]]


def test_nobody_waits_for_a_server_that_is_away(story: Story) -> None:
    assert story.slowest_call < 0.5


def test_no_point_is_lost_or_doubled_by_an_outage(story: Story) -> None:
    run_id = story.run("lived", "first").info.run_id
    for key in ("loss", "other"):
        assert [point.step for point in story.client.get_metric_history(run_id, key)] == list(range(25))
    assert len(story.client.list_artifacts(run_id, "images")) == 2 * 20
    assert story.lived_left is None


def test_a_trial_that_began_in_an_outage_has_its_run(story: Story) -> None:
    run = story.run("lived", "second")
    assert run.data.params == {"seed": "1"}
    assert run.data.tags["mlflow.parentRunId"] == story.run("lived", "parent").info.run_id


def test_every_run_has_ended_as_it_was_told(story: Story) -> None:
    statuses = {name: story.run("lived", name).info.status for name in ("parent", "first", "second")}
    assert statuses == {"parent": "FINISHED", "first": "FINISHED", "second": "FAILED"}
    assert {name: story.run("ended", name).info.status for name in ("parent", "child")} == {
        "parent": "FAILED",
        "child": "FINISHED",
    }


def test_an_outage_is_told_once_a_search_with_the_address_and_so_is_its_end(story: Story) -> None:
    begins = [text for text in story.warnings if "does not take events now" in text]
    assert len(begins) == 2 and all(story.uri in text for text in begins)
    assert len([text for text in story.warnings if "takes events again" in text]) == 1


def test_a_search_that_ends_in_an_outage_says_where_its_events_lie_and_how_to_deliver_them(story: Story) -> None:
    assert story.ended_left is not None
    assert f"python experiments/deliver.py '{story.ended_journal}'" in story.ended_left
    assert "4 events" in story.ended_left  # a point, an image and the ends of two runs
    assert story.ended_seconds < 8


def test_what_was_not_delivered_is_brought_in_by_the_command_once(story: Story) -> None:
    assert story.deliver_exits == [2, 0, 0]  # still away; delivered; nothing left
    run_id = story.run("ended", "child").info.run_id
    points = story.client.get_metric_history(run_id, "loss")
    assert [(point.step, point.value) for point in points] == [(0, 1.0), (1, 0.5)]
    assert len(story.client.list_artifacts(run_id, "images")) == 2


def test_a_folder_without_a_journal_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _deliver(tmp_path) == 2
    assert capsys.readouterr().err.startswith("error: deliver: expected the folder of a journal")
    assert list(tmp_path.iterdir()) == []

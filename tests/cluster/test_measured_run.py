from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfkd.assembly import Materials
from dfkd.cluster import measured_run
from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.measured_run import WALL_KEY, RecordingSession, run_measured
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.objectives import TaskObjective

Make = Callable[..., ExperimentSettings]


class LostError(Exception):
    """Stands for a lost machine."""


class LosingSession(RecordingSession):
    """Is lost after its second report."""

    def report(self, metrics: dict[str, Any]) -> None:
        super().report(metrics)
        if len(self.reports) == 2:
            raise LostError


def numbers(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in report.items() if not name.startswith(("time/", "system/"))}
        for report in reports
    ]


@pytest.fixture
def materials(tiny_materials: Materials) -> Materials:
    return dataclasses.replace(tiny_materials, test=tiny_materials.validation, probe=None)


def test_a_run_gives_every_epochs_scores_costs_and_a_picture(
    tiny_settings: Make, materials: Materials, tmp_path: Path
) -> None:
    measured = run_measured(tiny_settings(), materials, str(tmp_path))
    assert measured.error is None and [report["epoch"] for report in measured.reports] == [0, 1, 2]
    last = measured.reports[-1]
    assert last["test/accuracy/top1"] == last["val/accuracy/top1"]
    assert last["time/synthesis_seconds"] > 0 and last["time/distillation_seconds"] > 0
    assert "time/distillation_seconds" not in measured.reports[0]  # of warm-up
    assert last["system/memory_megabytes"] > 10 and last["system/cpu_utilization_percentage"] >= 0
    assert measured.peak_memory["process"] > 1e7 and measured.parameters["student"] > 1000
    assert measured.preview is not None and measured.hardware["threads"] >= 1


def test_tasks_on_real_images_are_done_on_the_test_split_at_the_end(tiny_settings: Make, materials: Materials) -> None:
    images = materials.validation
    assert images is not None and images.labels is not None
    test = dataclasses.replace(images, images=images.images[:20], labels=images.labels[:20])
    columns = {"same": TaskObjective(task="agreement", score="kl")}
    measured = run_measured(tiny_settings(), dataclasses.replace(materials, test=test), None, columns)
    first, *_, last = measured.reports
    same = pytest.approx(last["test/agreement/kl"], rel=1e-5)  # there the teacher is folded
    assert last["further/same"] == same != last["val/agreement/kl"]
    assert "further/same" not in first and last["time/transfer_seconds"] > 0


@pytest.mark.parametrize("method", ["cae"])
def test_a_run_that_goes_on_has_the_whole_curve_and_the_same_numbers(
    tiny_settings: Make, materials: Materials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    settings = tiny_settings()
    whole = run_measured(settings, materials, None)
    with monkeypatch.context() as patched:
        patched.setattr(measured_run, "RecordingSession", LosingSession)
        with pytest.raises(LostError):
            run_measured(settings, materials, str(tmp_path))
    resumed = run_measured(settings, materials, str(tmp_path))
    assert numbers(resumed.reports) == numbers(whole.reports)
    walls = [report[WALL_KEY] for report in resumed.reports]
    assert walls == sorted(walls)


def test_a_run_that_cannot_work_says_why(tiny_settings: Make, materials: Materials) -> None:
    bad = run_measured(tiny_settings(distillation={"learning_rate": 1e30}), materials, None)
    assert bad.error is not None and "Lower the learning rate" in bad.error


def test_checkpoints_of_a_run_that_has_ended_can_go(tiny_settings: Make, materials: Materials, tmp_path: Path) -> None:
    run_measured(tiny_settings(), materials, str(tmp_path))
    store = CheckpointStore(str(tmp_path))
    assert store.newest(rank=0, world_size=1) is not None
    store.remove()
    assert store.newest(rank=0, world_size=1) is None

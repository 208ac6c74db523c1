from __future__ import annotations

import base64
import contextlib
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dfkd.assembly import Materials
from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.local_session import LocalSession
from dfkd.cluster.worker import PREVIEW_KEY, WARNING_KEY, Report, run_worker
from dfkd.data.image_set import ImageSet
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.synthesis import (
    CategoryEmbeddingNoise,
    ContrastSettings,
    GaussianNoise,
    LabelNoiseLayer,
    RandomNoiseSettings,
    RealImagesSettings,
)

Make = Callable[..., ExperimentSettings]
CPU = torch.device("cpu")
TOTAL_EPOCHS = 3  # of the tiny experiment: one of warm-up, two with student steps


class InterruptionError(Exception):
    """Stands for a lost machine."""


class BreakingSession(LocalSession):
    """Breaks down at the given call, counted over all sessions that share ``calls``."""

    def __init__(self, *arguments: Any, moment: str, epoch: int) -> None:
        super().__init__(*arguments)
        self._moment, self._epoch = moment, epoch

    def save(self, state: dict[str, Any], *, epoch: int) -> None:
        self._break("before the checkpoint", epoch - 1)
        super().save(state, epoch=epoch)

    def report(self, metrics: Report) -> None:
        self._break("before the report", metrics["epoch"])
        super().report(metrics)
        self._break("after the report", metrics["epoch"])

    def _break(self, moment: str, epoch: int) -> None:
        if (moment, epoch) == (self._moment, self._epoch):
            raise InterruptionError


def run(
    settings: ExperimentSettings, materials: Materials, store: Path | None = None
) -> tuple[list[Report], nn.Module]:
    """Run to the end, and return the reports and the student."""
    reports: list[Report] = []
    checkpoints = None if store is None else CheckpointStore(str(store))
    student = run_worker(settings, materials, LocalSession(CPU, reports.append, checkpoints))
    return reports, student


def without_times(reports: list[Report]) -> list[Report]:
    return [
        {key: value for key, value in report.items() if not key.startswith(("time/", "system/"))} for report in reports
    ]


@pytest.fixture(scope="module")
def kept() -> dict[Any, Any]:
    """Uninterrupted runs, by settings: each is needed by several tests."""
    return {}


VARIANTS: dict[str, dict[str, Any]] = {
    "cncl": {},
    "fresh, learnt magnitudes": {
        "contrast": ContrastSettings(kind="fresh"),
        "noise": CategoryEmbeddingNoise(learnable_magnitudes=True),
    },
    "views, nayer": {"contrast": ContrastSettings(kind="simclr"), "noise": LabelNoiseLayer(width=16)},
    "no contrast, gaussian": {"contrast": ContrastSettings(kind="none"), "noise": GaussianNoise(width=16)},
}


@pytest.mark.parametrize("epoch", range(TOTAL_EPOCHS))
@pytest.mark.parametrize("moment", ["before the checkpoint", "before the report", "after the report"])
def test_an_interrupted_run_goes_on_bit_for_bit(
    tiny_settings: Make, tiny_materials: Materials, tmp_path: Path, kept: dict[Any, Any], moment: str, epoch: int
) -> None:
    _interrupt_and_resume(tiny_settings(), tiny_materials, tmp_path, kept, moment=moment, epoch=epoch)


@pytest.mark.parametrize("epoch", range(TOTAL_EPOCHS))
def test_epochs_since_the_last_checkpoint_are_run_again_bit_for_bit(
    tiny_settings: Make, tiny_materials: Materials, tmp_path: Path, kept: dict[Any, Any], epoch: int
) -> None:
    settings = tiny_settings(distillation={"checkpoint_every": 2})
    _interrupt_and_resume(settings, tiny_materials, tmp_path, kept, moment="after the report", epoch=epoch)


@pytest.mark.parametrize("variant", [name for name in VARIANTS if VARIANTS[name]])
@pytest.mark.parametrize("epoch", range(TOTAL_EPOCHS))
def test_every_kind_of_state_survives_an_interruption(
    tiny_settings: Make, tiny_materials: Materials, tmp_path: Path, kept: dict[Any, Any], variant: str, epoch: int
) -> None:
    made = tiny_settings(**VARIANTS[variant])
    _interrupt_and_resume(made, tiny_materials, tmp_path, kept, moment="after the report", epoch=epoch)


def _interrupt_and_resume(
    settings: ExperimentSettings,
    materials: Materials,
    folder: Path,
    kept: dict[Any, Any],
    *,
    moment: str,
    epoch: int,
) -> None:
    if settings not in kept:
        kept[settings] = run(settings, materials)
    expected, expected_student = kept[settings]
    before: list[Report] = []
    session = BreakingSession(CPU, before.append, CheckpointStore(str(folder)), moment=moment, epoch=epoch)
    with pytest.raises(InterruptionError):
        run_worker(settings, materials, session)
    after, student = run(settings, materials, folder)
    merged = {report["epoch"]: report for report in without_times(before)}
    for report in without_times(after):
        assert merged.setdefault(report["epoch"], report) == report  # what is said twice is said the same
    assert [merged[epoch] for epoch in sorted(merged)] == without_times(expected)
    for name, tensor in expected_student.state_dict().items():
        assert torch.equal(tensor, student.state_dict()[name]), name


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A small disk without a free byte, and the file that fills it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs leave to mount a disk")
    try:
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        yield folder, filler
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_costs_a_checkpoint_and_a_line_and_not_the_run(
    tiny_settings: Make, tiny_materials: Materials, full_disk: tuple[Path, Path]
) -> None:
    folder, filler = full_disk
    reports: list[Report] = []

    def report(metrics: Report) -> None:
        reports.append(metrics)
        filler.unlink(missing_ok=True)

    store = CheckpointStore(str(folder / "run"))
    run_worker(tiny_settings(), tiny_materials, LocalSession(CPU, report, store))
    why = reports[0].pop(WARNING_KEY)
    assert "no checkpoint after epoch 0 (" in why and "No space left on device" in why
    whole, _ = run(tiny_settings(), tiny_materials)
    assert without_times(reports) == without_times(whole)
    newest = store.newest(rank=0, world_size=1)
    assert newest is not None and newest["report"]["epoch"] == TOTAL_EPOCHS - 1
    assert not list(folder.rglob("*.partial"))


def test_a_disk_that_stays_full_is_an_error_in_the_end(
    tiny_settings: Make, tiny_materials: Materials, full_disk: tuple[Path, Path]
) -> None:
    reports: list[Report] = []
    session = LocalSession(CPU, reports.append, CheckpointStore(str(full_disk[0] / "run")))
    with pytest.raises(OSError, match="No space left on device"):
        run_worker(tiny_settings(), tiny_materials, session)
    assert [report["epoch"] for report in reports] == list(range(TOTAL_EPOCHS - 1))


def test_a_run_that_ends_early_is_the_beginning_of_a_whole_one(
    tiny_settings: Make, tiny_materials: Materials, tmp_path: Path
) -> None:
    settings, store, epochs = tiny_settings(), CheckpointStore(str(tmp_path)), TOTAL_EPOCHS - 1
    whole, _ = run(settings, tiny_materials)
    reports: list[Report] = []
    run_worker(settings, tiny_materials, LocalSession(CPU, reports.append, store), epochs=epochs)
    assert without_times(reports) == without_times(whole[:epochs])
    assert not any(report["finished"] for report in reports)
    again: list[Report] = []
    run_worker(settings, tiny_materials, LocalSession(CPU, again.append, store), epochs=epochs)
    assert without_times(again) == without_times(reports[-1:])  # its end is known, and nothing is run anew


def test_the_time_of_a_run_goes_on_after_an_interruption(
    tiny_settings: Make, tiny_materials: Materials, tmp_path: Path
) -> None:
    settings, store = tiny_settings(), CheckpointStore(str(tmp_path))
    session = BreakingSession(CPU, lambda report: None, store, moment="after the report", epoch=1)
    with pytest.raises(InterruptionError):
        run_worker(settings, tiny_materials, session)
    state = store.newest(rank=0, world_size=1)
    assert state is not None
    state["report"]["time/elapsed_seconds"] = 1000.0
    store.commit(epoch=2, digests=[store.write(state, epoch=2, rank=0)])
    (again, last), _ = run(settings, tiny_materials, tmp_path)
    assert again["time/elapsed_seconds"] == 1000.0 < last["time/elapsed_seconds"] < 1100.0


def test_reports_carry_what_a_search_selects_on(tiny_settings: Make, tiny_materials: Materials) -> None:
    reports, _ = run(tiny_settings(), tiny_materials)
    assert [report["epoch"] for report in reports] == [0, 1, 2]
    assert [report["finished"] for report in reports] == [False, False, True]
    for report in reports:
        assert {"probe/agreement", "probe/kl", "val/accuracy/top1", "val/agreement/top1"} <= set(report)
        assert report["time/epoch_seconds"] > 0
    assert "distillation/kd" not in reports[0]  # the warm-up only fills the bank
    assert {"distillation/kd", "distillation/contrast_bank", "synthesis/batch_norm"} <= set(reports[1])


def test_nothing_is_learnt_from_probe_or_validation_images(tiny_settings: Make, tiny_materials: Materials) -> None:
    assert tiny_materials.probe is not None and tiny_materials.validation is not None
    others = replace(
        tiny_materials,
        probe=replace(tiny_materials.probe, images=255 - tiny_materials.probe.images),
        validation=ImageSet(255 - tiny_materials.validation.images, tiny_materials.validation.labels.flip(0)),
    )
    reports, student = run(tiny_settings(), tiny_materials)
    other_reports, other_student = run(tiny_settings(), others)
    assert reports[-1]["probe/kl"] != other_reports[-1]["probe/kl"]  # they are other images
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, other_student.state_dict()[name]), name


def test_without_probe_and_real_images_only_the_losses_are_reported(
    tiny_settings: Make, tiny_materials: Materials
) -> None:
    reports, _ = run(tiny_settings(), replace(tiny_materials, probe=None, validation=None))
    assert not [name for report in reports for name in report if name.startswith(("probe/", "val/"))]


def test_a_complete_run_that_starts_again_repeats_its_last_report(
    tiny_settings: Make, tiny_materials: Materials, tmp_path: Path
) -> None:
    first, student = run(tiny_settings(), tiny_materials, tmp_path)
    again, same = run(tiny_settings(), tiny_materials, tmp_path)
    assert again == [first[-1]]
    assert again[0]["finished"]
    assert all(
        torch.equal(a, b) for a, b in zip(student.state_dict().values(), same.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(("damaged", "next_epoch"), [((3,), 1), ((2, 3), 0)], ids=["one left", "none left"])
def test_a_damaged_checkpoint_is_told_with_the_next_report(
    tiny_settings: Make, tiny_materials: Materials, tmp_path: Path, damaged: tuple[int, ...], next_epoch: int
) -> None:
    expected, _ = run(tiny_settings(), tiny_materials, tmp_path)
    for epoch in damaged:
        (tmp_path / f"epoch-00000{epoch}" / "rank-0.pt").write_bytes(b"nonsense")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a worker's own output is read by nobody
        again, _ = run(tiny_settings(), tiny_materials, tmp_path)
    said = [report.pop(WARNING_KEY, "") for report in again]
    assert all(f"epoch-00000{epoch}: the checkpoint is damaged" in said[0] for epoch in damaged)
    assert not any(said[1:])
    assert without_times(again) == without_times(expected)[next_epoch:]


def test_checkpoints_come_as_often_as_asked_and_after_the_last_epoch(
    tiny_settings: Make, tiny_materials: Materials, tmp_path: Path
) -> None:
    run(tiny_settings(distillation={"checkpoint_every": 2}), tiny_materials, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-000002", "epoch-000003"]


def test_a_machine_that_is_about_to_go_leaves_a_checkpoint_at_once(
    tiny_settings: Make, tiny_materials: Materials, tmp_path: Path
) -> None:
    class Noticed(LocalSession):
        asked = 0

        def is_leaving(self) -> bool:
            self.asked += 1
            return self.asked == 2

    session = Noticed(CPU, lambda report: None, CheckpointStore(str(tmp_path)))
    run_worker(tiny_settings(distillation={"checkpoint_every": 100}), tiny_materials, session)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-000002", "epoch-000003"]
    assert session.asked == 2  # not where there is a checkpoint anyway


@pytest.mark.parametrize(("image_every", "epochs"), [(0, []), (2, [0, 2]), (5, [0, 2])])
def test_previews_come_every_so_many_epochs_and_at_the_end(
    tiny_settings: Make, tiny_materials: Materials, image_every: int, epochs: list[int]
) -> None:
    reports: list[Report] = []
    run_worker(tiny_settings(), tiny_materials, LocalSession(CPU, reports.append), image_every=image_every)
    assert [report["epoch"] for report in reports if PREVIEW_KEY in report] == epochs
    for report in reports:
        if PREVIEW_KEY in report:
            assert base64.b64decode(report[PREVIEW_KEY]).startswith(b"\x89PNG")


def test_the_seed_decides_on_the_numbers(tiny_settings: Make, tiny_materials: Materials) -> None:
    first, second = run(tiny_settings(seed=0), tiny_materials)[0], run(tiny_settings(seed=1), tiny_materials)[0]
    assert first[-1]["distillation/kd"] != second[-1]["distillation/kd"]


def test_a_loss_that_is_not_finite_names_epoch_and_term(tiny_settings: Make, tiny_materials: Materials) -> None:
    with pytest.raises(FloatingPointError, match=r"epoch 1: distillation/\w+ is (nan|inf)"):
        run(tiny_settings(distillation={"learning_rate": 1e30}), tiny_materials)


def test_the_callers_teacher_stays_untouched(tiny_settings: Make, tiny_materials: Materials) -> None:
    before = {name: tensor.clone() for name, tensor in tiny_materials.teacher.model.state_dict().items()}
    run(tiny_settings(), tiny_materials)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_materials.teacher.model.state_dict().items())
    assert not tiny_materials.teacher.model.training


def test_noise_needs_no_generator(tiny_settings: Make, tiny_materials: Materials) -> None:
    floor = replace(tiny_settings(), synthesis=RandomNoiseSettings())
    reports, _ = run(floor, tiny_materials)
    assert [report["epoch"] for report in reports] == [0, 1]
    assert not [name for name in reports[0] if name.startswith("synthesis/")]


def test_a_baseline_learns_from_the_images_among_the_materials(tiny_settings: Make, tiny_materials: Materials) -> None:
    ceiling = replace(tiny_settings(), synthesis=RealImagesSettings())
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 9, 1, 8, 8), generator=random, dtype=torch.uint8)
    losses = [run(ceiling, replace(tiny_materials, images=given))[0][-1]["distillation/kd"] for given in images]
    assert losses[0] != losses[1]

"""One run of a comparison in a process of its own: the worker's function, and what it took."""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dfkd.assembly import Materials, choose_device
from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.local_session import LocalSession
from dfkd.cluster.worker import PREVIEW_KEY, RUN_ERRORS, Report, run_worker
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.objectives import ComparedObjective
from dfkd.tasks.further_objectives import further_scores

ONLY_AT_THE_ENDS = 10**9  # epochs between previews: the first epoch's and the last's
REPORTS, WALL = "reports", "wall_seconds"  # in a checkpoint, beside the worker's own state
WALL_KEY = "time/wall_seconds"  # of a report: since the run began, without the time between two processes of it

TRANSFER_KEY = "time/transfer_seconds"  # of the last report: of the tasks that the student is put to, within the former


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a run gave.

    Attributes:
        reports: of every epoch, those before an interruption included.
        preview: base64 of a PNG grid of synthetic images; None where the method shows none.
        peak_memory: bytes: ``process``, and ``device`` where there is an accelerator.
        parameters: of ``student``.
        hardware: where it ran.
        error: why it gave no student; None if it did.
    """

    reports: list[Report]
    preview: str | None = None
    peak_memory: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


class RecordingSession(LocalSession):
    """A session that keeps every epoch's report, in the checkpoints too: whoever goes on has the whole curve."""

    def __init__(self, device: torch.device, store: CheckpointStore | None) -> None:
        super().__init__(device, self._keep, store)
        self.reports: list[Report] = []
        self.preview: str | None = None
        self._wall_before, self._began = 0.0, time.monotonic()

    def restore(self, warn: Callable[[str], None]) -> dict[str, Any] | None:
        """Return the newest checkpoint, and take over its reports."""
        state = super().restore(warn)
        if state is not None:
            self.reports = list(state[REPORTS])
            self._wall_before, self._began = state[WALL], time.monotonic()
        return state

    def save(self, state: dict[str, Any], *, epoch: int) -> None:
        """Write a checkpoint, with the reports so far."""
        super().save({**state, REPORTS: list(self.reports), WALL: self._wall()}, epoch=epoch)

    def _keep(self, report: Report) -> None:
        self.preview = report.get(PREVIEW_KEY, self.preview)
        kept = {name: value for name, value in report.items() if name != PREVIEW_KEY}
        self.reports.append(kept | {WALL_KEY: self._wall()})

    def _wall(self) -> float:
        return self._wall_before + time.monotonic() - self._began


def run_measured(
    settings: ExperimentSettings,
    materials: Materials,
    uri: str | None,
    transfer: Mapping[str, ComparedObjective] | None = None,
) -> Measured:
    """Distil, or go on, and return every epoch's report with what the run took.

    Args:
        settings: with one worker.
        materials: what the worker needs; test images, if any, only appear in the reports.
        uri: of the run's checkpoints; None keeps none.
        transfer: what the trained student is put to, by name, some of it on the test images; the scores are in the last
            report.
    """
    device = choose_device(settings)
    session = RecordingSession(device, None if uri is None else CheckpointStore(uri))
    try:
        before_tasks: list[dict[str, float]] = []
        put_to_tasks = partial(_put_to_tasks, transfer or {}, materials, device, before_tasks)
        student = run_worker(settings, materials, session, image_every=ONLY_AT_THE_ENDS, at_end=put_to_tasks)
    except RUN_ERRORS as error:
        return Measured(reports=session.reports, hardware=hardware(device), error=" ".join(str(error).split()))
    return Measured(
        reports=session.reports,
        preview=session.preview,
        peak_memory=before_tasks[0] if before_tasks else peak_memory(device),
        parameters={"student": sum(parameter.numel() for parameter in student.parameters())},
        hardware=hardware(device),
    )


def _put_to_tasks(
    transfer: Mapping[str, ComparedObjective],
    materials: Materials,
    device: torch.device,
    memory: list[dict[str, float]],
    student: nn.Module,
) -> dict[str, float]:
    """Return the student's transfer scores and their seconds, after noting what the run itself took of memory."""
    memory.append(peak_memory(device))
    began = time.monotonic()
    scores = further_scores(transfer, student, materials.teacher, device, images=materials.test)
    return scores | ({TRANSFER_KEY: time.monotonic() - began} if scores else {})


def peak_memory(device: torch.device) -> dict[str, float]:
    """Return the most bytes that this process has held, libraries included, and that it had on the accelerator."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kibibytes elsewhere
    peak = {"process": float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)}
    if device.type == "cuda":
        peak["device"] = float(torch.cuda.max_memory_allocated(device))
    return peak


def hardware(device: torch.device) -> dict[str, Any]:
    """Return what a run was computed on."""
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [
            line.partition(":")[2].strip() for line in information.read_text().splitlines() if "model name" in line
        ]
        processor = names[0] if names else processor
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {"processor": processor, "threads": torch.get_num_threads(), "accelerator": accelerator}

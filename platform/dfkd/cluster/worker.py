"""One worker of one trial, from settings to the last report. Knows no Ray: it talks to a ``Session``."""

from __future__ import annotations

import base64
import itertools
import time
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from dfkd.assembly import Materials, StudentEvaluation, build_distillation
from dfkd.cluster.memory import keep_freed_memory
from dfkd.cluster.usage import USAGE, Usage
from dfkd.distillation import distill
from dfkd.preview import png_grid
from dfkd.settings.experiment import ExperimentSettings
from dfkd.synthesis.protocol import Gather

PREVIEW_KEY = "preview_png"  # base64 text: reports carry plain values only
DEVICE_KEY = "device"  # what trains: known to the worker alone, since the driver may have another
WARNING_KEY = "warning"  # what a person should know; a worker's own output is read by nobody
#: Errors of the run itself, which a repetition would only give again; what kills a worker from outside is none of them.
RUN_ERRORS = (FloatingPointError, ValueError)
RESTARTS = 2  # of a run whose process or node was lost; it goes on from its newest checkpoint
Report = dict[str, Any]


class Session(Protocol):
    """What surrounds a worker: its place among the others, its checkpoints, and who hears its reports."""

    rank: int
    world_size: int
    device: torch.device
    unheard: int  # how many reports may be lost with a worker that dies: a run that goes on tells them again

    @property
    def gather(self) -> Gather | None:
        """Collects tensors of all workers; None for a single one."""
        ...

    def wrap(self, module: nn.Module) -> nn.Module:
        """Make a module data-parallel."""
        ...

    def average(self, module: nn.Module, metrics: dict[str, float]) -> dict[str, float]:
        """Average the module's BatchNorm statistics in place, and the metrics, over all workers."""
        ...

    def collect(self, numbers: dict[str, float]) -> dict[str, float]:
        """Return the numbers of every worker; those of several begin with ``worker_<rank>/``."""
        ...

    def restore(self, warn: Callable[[str], None]) -> dict[str, Any] | None:
        """Return this worker's newest sound checkpoint; ``warn`` hears of damaged ones."""
        ...

    def save(self, state: dict[str, Any], *, epoch: int) -> None:
        """Write a checkpoint of all workers; OSError, in each of them, if one could not write its part."""
        ...

    def report(self, metrics: Report) -> None:
        """Pass the metrics of an epoch on; every worker calls it equally often."""
        ...

    def is_leaving(self) -> bool:
        """Whether a machine of this run is about to be taken away; every worker calls it equally often."""
        ...


def run_worker(
    settings: ExperimentSettings,
    materials: Materials,
    session: Session,
    *,
    epochs: int | None = None,
    image_every: int = 0,
    at_end: Callable[[nn.Module], dict[str, float]] | None = None,
) -> nn.Module:
    """Distil, or go on where the newest checkpoint stands, and report every epoch.

    Args:
        settings: the experiment.
        materials: teacher, probe set, real images for reports, label embeddings, and the images of a baseline.
        session: this worker's surroundings.
        epochs: after how many, warm-up included, to end; the schedule stays that of all of them. None: after all.
        image_every: epochs between previews of synthetic images; 0 sends none.
        at_end: from the trained student to metrics that its last report holds besides.

    Returns:
        The trained student.
    """
    keep_freed_memory()
    run = build_distillation(
        settings,
        materials.teacher,
        device=session.device,
        images=materials.images,
        label_embeddings=materials.label_embeddings.get(settings.label_embeddings),
        rank=session.rank,
        world_size=session.world_size,
        wrap=session.wrap,
        gather=session.gather,
    )
    usage = Usage(session.device)
    evaluate = StudentEvaluation(run, settings, materials)
    notes: list[str] = []
    saved = session.restore(notes.append)
    told: Report = {WARNING_KEY: " ".join(notes)} if notes else {}  # with the next report, once
    recent: list[Report] = []
    if saved is not None:
        run.load_state_dict(saved["run"])
        recent = saved.get("recent", [saved["report"]])
        for earlier in recent:
            session.report(earlier | told)
            told = {}
    started = time.monotonic()
    began = started - (saved["report"]["time/elapsed_seconds"] if saved else 0.0)  # as if it had run until now
    end = run.total_epochs if epochs is None else epochs
    for epoch_report in itertools.islice(distill(run), max(0, end - run.epoch)):
        last, finished = run.epoch == end, run.epoch == run.total_epochs
        seconds = time.monotonic() - started
        metrics = session.average(run.network, epoch_report.metrics)
        report: Report = metrics | {"epoch": epoch_report.epoch, "time/epoch_seconds": seconds}
        report["finished"] = finished
        report |= {f"{USAGE}{name}": value for name, value in session.collect(usage.take()).items()}
        report[DEVICE_KEY] = describe_device(session.device)
        report |= {f"time/{part}_seconds": value for part, value in epoch_report.seconds.items()}
        report["time/elapsed_seconds"] = time.monotonic() - began  # evaluation, checkpoints, reports; no interruption
        if session.rank == 0:
            report |= evaluate()
            report |= at_end(run.pair.student) if at_end and last else {}
        recent = [*recent, report][-session.unheard :]
        if last or run.epoch % settings.distillation.checkpoint_every == 0 or session.is_leaving():
            state = {"run": run.state_dict(), "report": report, "recent": recent}
            told |= _save(session, state, epoch=run.epoch, needed=last, told=told)
        wants_image = image_every and (last or epoch_report.epoch % image_every == 0)
        if wants_image and session.rank == 0 and epoch_report.preview is not None:
            report = report | {PREVIEW_KEY: base64.b64encode(png_grid(epoch_report.preview)).decode()}
        session.report(report | told)
        told, started = {}, time.monotonic()
    return run.pair.student


def _save(session: Session, state: dict[str, Any], *, epoch: int, needed: bool, told: Report) -> Report:
    """Write a checkpoint, or return what to tell of why not: a full disk may have room again after the next epoch.

    Raises:
        OSError: it cannot be written, and is needed: the student is read from the last.
    """
    try:
        session.save(state, epoch=epoch)
    except OSError as error:
        if needed:
            raise
        note = f"no checkpoint after epoch {epoch - 1} ({error}); a run that is lost now goes on from an older one."
        return {WARNING_KEY: " ".join([told[WARNING_KEY], note] if WARNING_KEY in told else [note])}
    return {}


def describe_device(device: torch.device) -> str:
    """Return ``cpu``, or the kind of the device and the name of the model: ``cuda (NVIDIA H100 80GB HBM3)``."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type

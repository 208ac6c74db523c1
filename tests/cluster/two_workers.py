"""What one of two workers does; `test_parallel_session.py` starts both. Arguments: rank, folder for results.

They share a process group of `gloo` and no Ray. Rank 0 also computes what a single worker gives.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dfkd.assembly import build_distillation
from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.parallel_session import ParallelSession
from dfkd.cluster.worker import Report, run_worker
from dfkd.distillation import Distillation, student_step
from dfkd.settings.experiment import ExperimentSettings
from dfkd.synthesis.protocol import SyntheticBatch

WORKERS, BATCH = 2, 48
CPU = torch.device("cpu")


class InterruptionError(Exception):
    """Stands for a lost machine."""


class InterruptedSession(ParallelSession):
    """Breaks down after the report of an epoch, on every worker."""

    interrupted_epoch = -1

    def report(self, metrics: Report) -> None:
        super().report(metrics)
        if metrics["epoch"] == self.interrupted_epoch:
            raise InterruptionError


def run(inputs: dict[str, Any], store: CheckpointStore, *, interrupted_epoch: int = -1) -> dict[str, Any]:
    """Run two workers to the end or to the interruption."""
    reports: list[Report] = []
    session = InterruptedSession(CPU, reports.append, store)
    session.interrupted_epoch = interrupted_epoch
    weights: dict[str, Tensor] = {}
    try:
        weights = run_worker(inputs["settings"], inputs["materials"], session).state_dict()
    except InterruptionError:
        pass
    return {"reports": reports, "weights": weights}


def gradient(settings: ExperimentSettings, inputs: dict[str, Any], batch: SyntheticBatch, **parallel: Any) -> Tensor:
    """Take one student step on these images, with BatchNorm in evaluation mode, and return the student's gradient."""
    run = build_distillation(settings, inputs["teacher_in_double"], device=CPU, **parallel)
    run.synthesizer.sample = lambda batch_size: batch  # type: ignore[method-assign]
    freeze_batch_norm(run)
    student_step(run)
    gradients = [p.grad.flatten() for p in run.network.parameters() if p.grad is not None]
    assert len(gradients) == len(list(run.network.parameters()))
    return torch.cat(gradients)


def freeze_batch_norm(run: Distillation) -> None:
    for module in run.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode=True, module=module: module  # type: ignore[method-assign, misc]


def share_of(batch: SyntheticBatch, rows: Tensor) -> SyntheticBatch:
    assert batch.labels is not None and batch.sources is not None
    return SyntheticBatch(images=batch.images[rows], labels=batch.labels[rows], sources=batch.sources[rows])


def compare_gradients(inputs: dict[str, Any], rank: int, folder: Path) -> dict[str, float]:
    """Return |two workers' gradient - one worker's| / |one worker's|, by variant."""
    torch.set_default_dtype(torch.float64)
    session = ParallelSession(CPU, lambda report: None, CheckpointStore(str(folder / "gradients")))
    wrap, gather = session.wrap, session.gather
    differences = {}
    for variant, settings in inputs["variants"].items():
        batch: SyntheticBatch = inputs["batches"][variant]
        quarters = torch.arange(BATCH).chunk(2 * WORKERS)  # `fresh` looks at the second half of what a worker has
        rows = torch.cat([quarters[rank], quarters[WORKERS + rank]])
        two = gradient(settings, inputs, share_of(batch, rows), rank=rank, world_size=WORKERS, wrap=wrap, gather=gather)
        one = gradient(settings, inputs, share_of(batch, torch.arange(BATCH)))
        differences[variant] = float((two - one).norm() / one.norm())
    torch.set_default_dtype(torch.float32)
    return differences


def main(rank: int, folder: Path) -> None:
    """Run everything that the tests ask about."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORKERS)
    inputs = torch.load(folder / "inputs.pt", weights_only=False)
    results: dict[str, Any] = {"gradients": compare_gradients(inputs, rank, folder)}
    results["uninterrupted"] = run(inputs, CheckpointStore(str(folder / "uninterrupted")))
    results["long"] = run(inputs | {"settings": inputs["long settings"]}, CheckpointStore(str(folder / "long")))
    for epoch in range(3):
        store = CheckpointStore(str(folder / f"interrupted-{epoch}"))
        before = run(inputs, store, interrupted_epoch=epoch)
        results[f"interrupted-{epoch}"] = (before, run(inputs, store))
    rare = inputs | {"settings": inputs["rare checkpoints"]}
    results["rare"] = run(rare, CheckpointStore(str(folder / "rare")))
    for epoch in range(3):
        store = CheckpointStore(str(folder / f"rare-{epoch}"))
        before = run(rare, store, interrupted_epoch=epoch)
        results[f"rare-{epoch}"] = (before, run(rare, store))
    store = CheckpointStore(str(folder / "damaged"))
    run(inputs, store, interrupted_epoch=1)
    if rank == 0:  # the newest checkpoint of the other worker alone
        (folder / "damaged" / "epoch-000002" / "rank-1.pt").write_bytes(b"half")
    dist.barrier()
    results["damaged"] = run(inputs, store)
    (folder / "blocked" / "epoch-000001" / "rank-1.pt.partial").mkdir(
        parents=True, exist_ok=True
    )  # no file can be there
    results["blocked"] = run(inputs, CheckpointStore(str(folder / "blocked")))
    torch.save(results, folder / f"results-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))

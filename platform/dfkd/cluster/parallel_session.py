"""The session of one of several data-parallel workers. Knows no Ray: processes that share a process group suffice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.worker import Report

#: Reports under way when workers die, each after its checkpoint: Ray Train (2.60) keeps one in a queue while the next
#: waits for room, its controller may have one that it has not passed on, and the driver reads a queue of its own.
REPORTS_UNDER_WAY = 5


class ParallelSession:
    """A ``Session`` in a process group: gradients, BatchNorm statistics and metrics are averaged over its workers.

    Args:
        device: where this worker trains.
        on_report: hears every report of this worker.
        store: where checkpoints go, the same for all workers.
        is_leaving: whether a machine of theirs is about to be taken away: the same answer for all workers.
    """

    unheard = REPORTS_UNDER_WAY

    def __init__(
        self,
        device: torch.device,
        on_report: Callable[[Report], None],
        store: CheckpointStore,
        is_leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self.rank: int = dist.get_rank()
        self.world_size: int = dist.get_world_size()
        self.gather = GatherWorkers(self.rank, self.world_size)
        self.device, self._on_report, self._store, self._is_leaving = device, on_report, store, is_leaving

    def wrap(self, module: nn.Module) -> nn.Module:
        """Wrap in DistributedDataParallel, which averages gradients; BatchNorm statistics are averaged by us."""
        device_ids = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=device_ids, broadcast_buffers=False)

    def average(self, module: nn.Module, metrics: dict[str, float]) -> dict[str, float]:
        """Average BatchNorm statistics in place and return averaged metrics."""
        for buffer in module.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer.div_(self.world_size)
        names = sorted(metrics)
        values = torch.tensor([metrics[name] for name in names], dtype=torch.float64, device=self.device)
        dist.all_reduce(values)
        return dict(zip(names, (values / self.world_size).tolist(), strict=True))

    def collect(self, numbers: dict[str, float]) -> dict[str, float]:
        """Return the numbers of all workers, each under ``worker_<rank>/<name>``."""
        names = sorted(numbers)
        own = torch.tensor([numbers[name] for name in names], dtype=torch.float64, device=self.device)
        of_all = [torch.empty_like(own) for _ in range(self.world_size)]
        dist.all_gather(of_all, own)
        return {
            f"worker_{rank}/{name}": value
            for rank, values in enumerate(of_all)
            for name, value in zip(names, values.tolist(), strict=True)
        }

    def restore(self, warn: Callable[[str], None]) -> dict[str, Any] | None:
        """Return this worker's part of the newest checkpoint that all workers find sound."""
        return self._store.newest(rank=self.rank, world_size=self.world_size, all_agree=self._all_agree, warn=warn)

    def save(self, state: dict[str, Any], *, epoch: int) -> None:
        """Write this worker's part; rank 0 commits once all have written theirs. All wait for each other."""
        digests: list[str] = [""] * self.world_size
        with self._together():
            digest = self._store.write(state, epoch=epoch, rank=self.rank)
        dist.all_gather_object(digests, digest)
        with self._together():
            if self.rank == 0:
                self._store.commit(epoch=epoch, digests=digests)

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Raise in every worker if the block raised in one: else the others would wait for it for ever."""
        failure: OSError | None = None
        try:
            yield
        except OSError as error:
            failure = error
        if not self._all_agree(failure is None):
            raise failure or OSError("another worker could not write its part of the checkpoint")

    def report(self, metrics: Report) -> None:
        """Pass the metrics on."""
        self._on_report(metrics)

    def is_leaving(self) -> bool:
        """Ask whoever knows."""
        return self._is_leaving()

    def _all_agree(self, agree: bool) -> bool:
        votes = torch.tensor(int(agree), device=self.device)
        dist.all_reduce(votes, op=dist.ReduceOp.MIN)
        return bool(votes)


class GatherWorkers:
    """Collects a tensor of every worker, with gradient for floating-point ones."""

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank, self.world_size = rank, world_size

    def __call__(self, tensor: Tensor) -> Tensor:
        """Return [workers * B, ...] from [B, ...] of each."""
        gathered: Tensor = _AllGather.apply(tensor, self.rank, self.world_size)
        return gathered


class _AllGather(torch.autograd.Function):
    """All-gather whose gradient is summed over the workers: every worker's loss sees every worker's tensor."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, rank: int, world_size: int) -> Tensor:
        ctx.rank, ctx.batch = rank, len(tensor)
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(world_size)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.rank * ctx.batch : (ctx.rank + 1) * ctx.batch], None, None

"""The session of a Ray Train worker: one of several data-parallel processes."""

from __future__ import annotations

from typing import Any

import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn

from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.worker import Report


class TrainSession:
    """A ``Session`` inside ``ray.train``; call it in the training function of a ``TorchTrainer``."""

    def __init__(self, store: CheckpointStore) -> None:
        context = ray.train.get_context()
        self.rank: int = context.get_world_rank()
        self.world_size: int = context.get_world_size()
        self.device: torch.device = ray.train.torch.get_device()
        self.gather = GatherWorkers(self.rank, self.world_size)
        self._store = store

    def wrap(self, module: nn.Module) -> nn.Module:
        """Wrap in DistributedDataParallel, which averages gradients; BatchNorm statistics are averaged by us."""
        wrapped: nn.Module = ray.train.torch.prepare_model(
            module, parallel_strategy_kwargs={"broadcast_buffers": False}
        )
        return wrapped

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

    def restore(self) -> dict[str, Any] | None:
        """Return this worker's newest checkpoint."""
        return self._store.newest(rank=self.rank, world_size=self.world_size)

    def save(self, state: dict[str, Any], *, epoch: int) -> None:
        """Write this worker's part; rank 0 commits once all have written theirs."""
        digest = self._store.write(state, epoch=epoch, rank=self.rank)
        digests: list[str] = [""] * self.world_size
        dist.all_gather_object(digests, digest)
        if self.rank == 0:
            self._store.commit(epoch=epoch, digests=digests)
        dist.barrier()

    def report(self, metrics: Report) -> None:
        """Report through Ray Train; only rank 0's metrics travel on to Tune."""
        ray.train.report(metrics)


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
        parts = [torch.empty_like(tensor) for _ in range(world_size)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        total = gradient.clone()
        dist.all_reduce(total)
        return total[ctx.rank * ctx.batch : (ctx.rank + 1) * ctx.batch], None, None

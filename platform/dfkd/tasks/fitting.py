"""The one training loop of the tasks: SGD for some epochs, which can be interrupted and gone on with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dfkd.settings.tasks.training import TrainingSettings


class Progress(Protocol):
    """Who hears of the epochs of a training, and may keep its state."""

    def restore(self) -> Mapping[str, Any] | None:
        """Return the state that an interrupted training left, or None."""

    def report(self, *, done: int, epochs: int, loss: float, state: dict[str, Any]) -> None:
        """Hear that ``done`` of ``epochs`` epochs are over; ``state``, live tensors, is what ``restore`` shall give."""


class NoProgress:
    """Nobody listens, and nothing is kept."""

    def restore(self) -> None:
        """Return None."""
        return None

    def report(self, *, done: int, epochs: int, loss: float, state: dict[str, Any]) -> None:
        """Do nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batches:
    """How the indices of N examples are drawn: shuffled every epoch, in batches of equal size.

    What is left over is another part in every epoch.
    """

    num_examples: int
    batch_size: int

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch."""
        return self.num_examples // min(self.batch_size, self.num_examples)

    def __call__(self, random: torch.Generator) -> Iterator[Tensor]:
        """Yield an epoch of rows [B] int64, on the generator's device."""
        size = min(self.batch_size, self.num_examples)
        order = torch.randperm(self.num_examples, generator=random, device=random.device)
        yield from order[: self.per_epoch * size].split(size)


def fit(
    network: nn.Module,
    groups: Iterable[tuple[Iterable[nn.Parameter], float]],
    settings: TrainingSettings,
    *,
    batches: Batches,
    loss: Callable[[Tensor, torch.Generator], Tensor],
    random: torch.Generator,
    progress: Progress,
    where: str,
) -> None:
    """Train a network in place, from where ``progress`` restores it.

    Args:
        network: all that is trained, and all whose state a resumed training needs; ``train()`` puts it into the mode
            that it wants to be trained in.
        groups: parameters with the learning rate that they begin with.
        settings: epochs, momentum, weight decay and how learning rates fall.
        batches: which rows a step gets.
        loss: rows [B] and the generator -> scalar with gradient.
        random: order of the rows, and whatever ``loss`` draws.
        progress: hears of every epoch.
        where: names the task in messages.

    Raises:
        FloatingPointError: if the loss of an epoch is not finite.
    """
    optimizer = torch.optim.SGD(
        [{"params": list(parameters), "lr": rate} for parameters, rate in groups],
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    first_rates = [group["lr"] for group in optimizer.param_groups]
    epoch = 0
    if (start := progress.restore()) is not None:
        epoch = start["epoch"]
        network.load_state_dict(start["network"])
        optimizer.load_state_dict(start["optimizer"])
        random.set_state(start["random"].cpu())
    while epoch < settings.epochs:
        network.train()
        total = torch.zeros((), dtype=torch.float64, device=random.device)
        for step, rows in enumerate(batches(random)):
            share = settings.decay.share((epoch + step / batches.per_epoch) / settings.epochs)
            for group, rate in zip(optimizer.param_groups, first_rates, strict=True):
                group["lr"] = rate * share
            value = loss(rows, random)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            total += value.detach()
        epoch += 1
        mean = float(total) / batches.per_epoch
        if not math.isfinite(mean):
            raise FloatingPointError(f"{where}: the loss of epoch {epoch} is {mean}. Lower its learning rates.")
        state = {
            "epoch": epoch,
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "random": random.get_state(),
        }
        progress.report(done=epoch, epochs=settings.epochs, loss=mean, state=state)
    network.eval()

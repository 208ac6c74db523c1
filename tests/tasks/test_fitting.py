import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd.settings.decay import Decay
from dfkd.settings.tasks.training import TrainingSettings
from dfkd.tasks.fitting import Batches, NoProgress, Progress, fit


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def train(network: nn.Module, *, progress: Progress | None = None, rate: float = 0.1, **values: Any) -> list[float]:
    """Fit a regression of 10 examples; return the learning rates of all steps."""
    inputs = torch.randn(10, 3, generator=generator(1))
    targets = inputs.sum(dim=1, keepdim=True)
    settings = TrainingSettings(**({"epochs": 4, "batch_size": 4, "weight_decay": 0.0} | values))
    rates: list[float] = []

    def loss(rows: Tensor, random: torch.Generator) -> Tensor:
        noise = 0.01 * torch.randn(len(rows), 3, generator=random)
        return (network(inputs[rows] + noise) - targets[rows]).square().mean()

    class Watch(torch.optim.SGD):
        def step(self, *arguments: Any, **keywords: Any) -> Any:
            rates.append(self.param_groups[0]["lr"])
            return super().step(*arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "SGD", Watch)
        fit(
            network,
            [(network.parameters(), rate)],
            settings,
            batches=Batches(num_examples=10, batch_size=4),
            loss=loss,
            random=generator(),
            progress=progress or NoProgress(),
            where="regression",
        )
    return rates


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def test_an_epoch_has_every_row_at_most_once_in_batches_of_one_size() -> None:
    batches, random = Batches(num_examples=10, batch_size=4), generator()
    epochs = [torch.stack(list(batches(random))) for _ in range(3)]
    assert all(epoch.shape == (2, 4) and len(epoch.unique()) == 8 for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    assert batches.per_epoch == 2
    assert [len(rows) for rows in Batches(num_examples=3, batch_size=8)(generator())] == [3]


def test_learning_rates_fall_step_by_step_along_the_cosine() -> None:
    rates = train(linear(), rate=0.2)
    assert rates == pytest.approx([0.2 * 0.5 * (1 + math.cos(math.pi * step / 8)) for step in range(8)])


def test_learning_rates_fall_at_milestones() -> None:
    rates = train(linear(), rate=0.2, decay=Decay(kind="steps", milestones=(0.25, 0.75)))
    assert rates == pytest.approx([0.2] * 2 + [0.02] * 4 + [0.002] * 2)


def test_an_interrupted_training_goes_on_bit_for_bit(interruption: Callable[[int], Any]) -> None:
    whole, broken = linear(), linear()
    train(whole)
    progress = interruption(2)
    with pytest.raises(KeyboardInterrupt):
        train(broken, progress=progress)
    assert not torch.equal(broken.weight, whole.weight)  # type: ignore[arg-type]
    resumed = linear()
    train(resumed, progress=progress)
    assert progress.heard == [1, 2, 3, 4]
    assert torch.equal(resumed.weight, whole.weight)  # type: ignore[arg-type]


def test_the_network_is_left_in_evaluation_mode() -> None:
    network = linear()
    train(network)
    assert not network.training


def test_a_loss_that_is_not_finite_names_task_and_epoch() -> None:
    with pytest.raises(FloatingPointError, match="regression: the loss of epoch 1 is (nan|inf). Lower its learning"):
        train(linear(), rate=1e30, epochs=3)

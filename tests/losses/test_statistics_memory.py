import torch
from torch import nn

from dfkd.losses.inversion import batch_norm_statistics, statistics_distance
from dfkd.losses.statistics_memory import StatisticsMemory

CPU = torch.device("cpu")


def values(mean: float, variance: float) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([mean]), torch.tensor([variance])


def numbers(statistics: tuple[torch.Tensor, torch.Tensor]) -> list[float]:
    return [float(value) for value in statistics]


def test_the_first_batch_is_taken_as_it_is_and_later_ones_by_their_share() -> None:
    memory = StatisticsMemory(0.75, CPU)
    assert numbers(memory.blend(0, *values(4, 8))) == [4, 8]
    memory.add([values(4, 8), values(0, 1)])
    assert numbers(memory.blend(0, *values(8, 0))) == [0.25 * 8 + 0.75 * 4, 0.75 * 8]
    memory.add([values(8, 0), values(4, 1)])
    assert numbers(memory.blend(0, *values(5, 6))) == [0.25 * 5 + 0.75 * 5, 0.25 * 6 + 0.75 * 6]
    assert numbers(memory.blend(1, *values(1, 1))) == [0.25 * 1 + 0.75 * 1, 1]


def test_a_restored_memory_goes_on_as_the_first() -> None:
    memory, other = StatisticsMemory(0.5, CPU), StatisticsMemory(0.5, CPU)
    memory.add([values(4, 8)])
    other.load_state_dict(memory.state_dict())
    memory.add([values(0, 0)])
    other.add([values(0, 0)])
    assert numbers(other.blend(0, *values(0, 0))) == numbers(memory.blend(0, *values(0, 0))) == [1, 2]


def test_only_the_batch_whose_loss_was_asked_for_last_is_remembered() -> None:
    teacher = nn.Sequential(nn.BatchNorm1d(1)).eval()
    first, last, forgotten = torch.tensor([[[1.0], [3.0]], [[5.0], [7.0]], [[90.0], [99.0]]])
    memory = StatisticsMemory(0.5, CPU)
    with batch_norm_statistics(teacher, memory) as statistics:
        for batch in (first, last):
            teacher(batch)
            alone = statistics.loss()
        teacher(forgotten)
        statistics.forget()
        statistics.remember()
        teacher(first)
        blended = statistics.loss()
    none, one = torch.zeros(1), torch.ones(1)
    torch.testing.assert_close(alone, statistics_distance(last, none, one))
    # Half of (mean 2, variance 1) and half of (mean 6, variance 1), from (0, 1).
    torch.testing.assert_close(blended, torch.tensor(4.0))


def test_a_memory_leaves_a_share_of_the_gradient() -> None:
    teacher = nn.Sequential(nn.BatchNorm1d(1)).eval()
    batch = torch.tensor([[4.0], [6.0]], requires_grad=True)  # mean 5, variance 1: only the mean is off
    memory = StatisticsMemory(0.9, CPU)
    gradients = []
    for _ in range(2):
        with batch_norm_statistics(teacher, memory) as statistics:
            teacher(batch)
            gradients.append(torch.autograd.grad(statistics.loss(), batch)[0])
            statistics.remember()
    torch.testing.assert_close(gradients[1], 0.1 * gradients[0])

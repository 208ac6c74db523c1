import math

import pytest
import torch
from torch import Tensor, nn

from dfkd.losses.inversion import ChannelStatistics, batch_norm_statistics, one_hot_loss, statistics_distance

# Channel 0 holds 1 and 3 (mean 2, variance 1), channel 1 holds 0 and 4 (mean 2, variance 4).
INPUTS = torch.tensor([[1.0, 0.0], [3.0, 4.0]])


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def hooks(network: nn.Module) -> int:
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in network.modules())


def test_one_hot_loss_has_the_value_worked_by_hand() -> None:
    # p = (1/4, 3/4) twice, labels 1 and 0: (-ln(3/4) - ln(1/4)) / 2
    logits = torch.tensor([[0.0, math.log(3)]]).repeat(2, 1)
    assert float(one_hot_loss(logits, torch.tensor([1, 0]))) == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)


def test_one_hot_loss_gradcheck() -> None:
    logits = images(3, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(one_hot_loss, (logits, torch.tensor([0, 3, 1])))


def test_statistics_distance_has_the_value_worked_by_hand() -> None:
    # means differ by (3, 4): norm 5; variances by (0, 4 - 16 = -12): norm 12. Unsquared, so 17.
    distance = statistics_distance(INPUTS, torch.tensor([-1.0, 6.0]), torch.tensor([1.0, 16.0]))
    assert float(distance) == pytest.approx(17)


def test_statistics_distance_is_zero_with_zero_gradient_when_statistics_match() -> None:
    inputs = INPUTS.clone().requires_grad_()
    distance = statistics_distance(inputs, torch.tensor([2.0, 2.0]), torch.tensor([1.0, 4.0]))
    (gradient,) = torch.autograd.grad(distance, inputs)
    assert float(distance.detach()) == 0
    assert gradient.abs().max() == 0  # and not NaN, as the derivative of a root at 0 would be


def test_statistics_distance_ignores_the_order_of_images_and_pixels() -> None:
    inputs, mean, var = images(6, 3, 4, 4), torch.ones(3), torch.ones(3)
    shuffled = inputs[torch.randperm(6)].flip(2).transpose(2, 3)
    torch.testing.assert_close(statistics_distance(shuffled, mean, var), statistics_distance(inputs, mean, var))


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5, 7)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_channel_statistics_and_their_gradient_are_those_of_var_mean(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    inputs = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3 + 5
    if len(shape) == 4:
        inputs = inputs.to(memory_format=layout)
    ours, theirs = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    mean, variance = ChannelStatistics.apply(ours)
    over = [dim for dim in range(len(shape)) if dim != 1]
    expected_variance, expected_mean = torch.var_mean(theirs, dim=over, correction=0)
    torch.testing.assert_close((mean, variance), (expected_mean, expected_variance))
    weights = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    (mean @ weights + variance @ weights.flip(0)).backward()
    (expected_mean @ weights + expected_variance @ weights.flip(0)).backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_statistics_distance_gradcheck() -> None:
    inputs = images(4, 2, 3, 3).double().requires_grad_()
    mean, var = torch.ones(2).double(), torch.ones(2).double()
    assert torch.autograd.gradcheck(lambda x: statistics_distance(x, mean, var), inputs)


def test_loss_is_the_sum_over_layers_of_what_enters_them() -> None:
    first, last = nn.BatchNorm2d(3), nn.BatchNorm1d(3)
    teacher = nn.Sequential(first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last).eval()
    batch = images(5, 3, 4, 4)
    with batch_norm_statistics(teacher) as statistics:
        teacher(batch)
        found = statistics.loss()
        assert float(statistics.loss()) == 0  # forgotten
    pooled = first(batch).mean(dim=(2, 3))
    expected = statistics_distance(batch, torch.zeros(3), torch.ones(3))
    torch.testing.assert_close(found, expected + statistics_distance(pooled, torch.zeros(3), torch.ones(3)))


def test_loss_is_zero_when_statistics_match() -> None:
    teacher = nn.Sequential(nn.BatchNorm2d(3, momentum=1.0))
    batch = images(50, 3, 4, 4)
    teacher(batch)  # momentum 1: remembers exactly this batch, its variance without bias
    with batch_norm_statistics(teacher.eval()) as statistics:
        teacher(batch)
    assert float(statistics.loss()) < 0.01  # what the correction n / (n - 1) leaves


def test_a_teacher_without_batch_norm_costs_nothing() -> None:
    teacher = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False))
    with batch_norm_statistics(teacher) as statistics:
        teacher(images(4, 3))
    assert float(statistics.loss()) == 0


def test_hooks_are_there_inside_and_gone_after_an_exception() -> None:
    teacher = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2), nn.BatchNorm1d(2))
    with pytest.raises(RuntimeError, match="of the caller"), batch_norm_statistics(teacher):
        assert hooks(teacher) == 2
        raise RuntimeError("of the caller")
    assert hooks(teacher) == 0

from collections.abc import Callable

import pytest
import torch
from torch import nn

from dfkd.losses.inversion import batch_norm_statistics
from dfkd.losses.remembered_statistics import RememberedStatistics

IMAGES = torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(0)) * 2 + 1


@pytest.fixture
def layer() -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(2).eval().requires_grad_(False)
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(torch.tensor([3.0, -1.0]))
    norm.running_var.copy_(torch.tensor([4.0, 0.5]))
    return norm


def moments(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return images.mean(dim=(0, 2, 3)), images.var(dim=(0, 2, 3), correction=0)


def test_before_anything_is_remembered_the_distance_is_that_of_the_batch(layer: nn.BatchNorm2d) -> None:
    network = nn.Sequential(layer)
    with batch_norm_statistics(network) as plain:
        network(IMAGES)
        expected = plain.loss()
    with RememberedStatistics(network, nodes=[], momentum=0.9).hooked() as statistics:
        network(IMAGES)
        torch.testing.assert_close(statistics.loss(), expected)
        assert float(statistics.loss()) == 0  # forgotten once asked for


def test_earlier_rounds_count_by_the_momentum(layer: nn.BatchNorm2d) -> None:
    mean, variance = moments(IMAGES)
    later = 3 - IMAGES
    later_mean, later_variance = moments(later)
    mixed_mean, mixed_variance = 0.1 * later_mean + 0.9 * mean, 0.1 * later_variance + 0.9 * variance
    assert layer.running_mean is not None and layer.running_var is not None
    expected = (mixed_mean - layer.running_mean).norm() + (mixed_variance - layer.running_var).norm()
    with RememberedStatistics(layer, nodes=[], momentum=0.9).hooked() as statistics:
        layer(IMAGES)
        statistics.loss(), statistics.remember()
        layer(later)
        torch.testing.assert_close(statistics.loss(), expected)
        statistics.remember()  # now the mixture is what is remembered
        layer(IMAGES)
        twice = 0.1 * mean + 0.9 * mixed_mean, 0.1 * variance + 0.9 * mixed_variance
        expected = (twice[0] - layer.running_mean).norm() + (twice[1] - layer.running_var).norm()
        torch.testing.assert_close(statistics.loss(), expected)


def test_the_gradient_reaches_the_batch_by_its_share(layer: nn.BatchNorm2d) -> None:
    images = IMAGES.clone().requires_grad_()
    with RememberedStatistics(layer, nodes=[], momentum=0.9).hooked() as statistics:
        layer(images)
        (whole,) = torch.autograd.grad(statistics.loss(), images)
        statistics.remember()
        layer(images)  # the same batch again: the same mixture, a tenth of the gradient
        (share,) = torch.autograd.grad(statistics.loss(), images)
    torch.testing.assert_close(share, 0.1 * whole)


def test_targets_have_the_statistics_of_the_layer_and_no_gradient(layer: nn.BatchNorm2d) -> None:
    with RememberedStatistics(layer, nodes=[layer], momentum=0.9).hooked() as statistics:
        layer(IMAGES.clone().requires_grad_())
        (target,) = statistics.targets()
    assert not target.requires_grad
    mean, variance = moments(target)
    torch.testing.assert_close(mean, layer.running_mean)
    torch.testing.assert_close(variance, layer.running_var, rtol=1e-3, atol=0)


def test_state_is_what_was_remembered_and_hooks_go(tiny_network: Callable[..., nn.Module]) -> None:
    teacher = tiny_network().eval()
    one, other = (RememberedStatistics(teacher, nodes=[], momentum=0.5) for _ in range(2))
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with one.hooked():
        teacher(images)
        one.loss(), one.remember()
    other.load_state_dict(one.state_dict())
    found = []
    for statistics in (one, other):
        with statistics.hooked():
            teacher(1 - images)
            found.append(float(statistics.loss().detach()))
    assert found[0] == found[1] > 0
    assert not any(module._forward_pre_hooks for module in teacher.modules())

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dfkd.folding import fold_batch_norm
from dfkd.models import build_model

SHAPE = (3, 16, 16)


def with_statistics(network: nn.Module) -> nn.Module:
    """Give every BatchNorm layer statistics and an affine part of its own, and freeze the network."""
    random = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features, generator=random) / 4
            module.running_var = torch.rand(module.num_features, generator=random) + 0.5
            module.weight.data.copy_(torch.rand(module.num_features, generator=random) + 0.5)
            module.bias.data.copy_(torch.randn(module.num_features, generator=random) / 4)
    return network.eval().requires_grad_(False)


def count(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("name", ["resnet8", "resnet20", "wrn_16_1", "vgg11", "resnet18"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_folded_network_gives_the_same_answers(name: str, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    network = with_statistics(build_model(name, num_classes=10, in_channels=3)).to(memory_format=layout)
    before = copy.deepcopy(network.state_dict())
    folded = fold_batch_norm(network, SHAPE)
    assert count(folded) < count(network)
    images = torch.randn(8, *SHAPE)
    expected = network(images)
    assert (folded(images) - expected).abs().max() < 1e-5 * expected.abs().max()
    assert all(tensor.equal(before[key]) for key, tensor in network.state_dict().items())


def test_a_wide_resnet_keeps_those_whose_input_goes_around_them_too() -> None:
    network = with_statistics(build_model("wrn_16_1", num_classes=10, in_channels=3))
    assert count(fold_batch_norm(network, SHAPE)) == 7  # of 13: the first of every block, and the last


def test_a_plain_resnet_has_no_batch_norm_left() -> None:
    assert count(fold_batch_norm(with_statistics(build_model("resnet20", num_classes=10, in_channels=3)), SHAPE)) == 0


class UsedTwice(nn.Module):
    """What a convolution gives goes around its BatchNorm as well."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.convolution(images)
        return (self.norm(maps) + maps).mean(dim=(2, 3))


class AppliedTwice(UsedTwice):
    """One BatchNorm for two convolutions' outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return (self.norm(self.convolution(images)) + self.norm(self.other(images))).mean(dim=(2, 3))


class NotCopied(UsedTwice):
    """A network that cannot be copied."""

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.convolution(images)).mean(dim=(2, 3))

    def __deepcopy__(self, memo: object) -> nn.Module:
        raise TypeError("not me")


@pytest.mark.parametrize(
    "make",
    [UsedTwice, AppliedTwice, NotCopied, lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 3)), nn.Identity],
    ids=["used twice", "applied twice", "not copied", "no convolution", "no weights"],
)
def test_what_cannot_be_folded_stays_as_it_is(make: Callable[[], nn.Module]) -> None:
    network = with_statistics(make())
    assert fold_batch_norm(network, SHAPE) is network


def test_statistics_of_the_batch_itself_are_not_folded() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten()).eval()
    assert fold_batch_norm(network.requires_grad_(False), SHAPE) is network


def test_a_convolution_with_a_bias_and_a_norm_without_weights() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4, affine=False)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=True), norm, nn.Flatten()).eval().requires_grad_(False)
    norm.running_mean, norm.running_var = torch.randn(4), torch.rand(4) + 0.5
    folded, images = fold_batch_norm(network, SHAPE), torch.randn(2, *SHAPE)
    assert isinstance(folded, nn.Sequential) and isinstance(folded[1], nn.Identity)
    torch.testing.assert_close(folded(images), network(images))

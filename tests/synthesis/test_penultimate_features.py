from collections.abc import Callable

import pytest
import torch
from torch import nn

from dfkd.models import build_model
from dfkd.synthesis.penultimate_features import PenultimateFeatures

IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("architecture", ["resnet8", "wrn_16_1", "vgg11", "resnet18"])
def test_features_are_those_of_the_zoos_networks(architecture: str) -> None:
    network = build_model(architecture, num_classes=4, in_channels=3).eval()
    caught = PenultimateFeatures(network, num_classes=4, wanted_by="x")
    with caught, torch.no_grad():
        logits = network(IMAGES)
        assert torch.equal(caught.latest, network.forward_features(IMAGES))
        assert torch.equal(network.classify(caught.latest), logits)
    assert caught.width == network.feature_width


def test_features_have_the_gradient_of_their_pass_and_the_hook_is_gone_afterwards(
    tiny_network: Callable[..., nn.Module],
) -> None:
    network = tiny_network().eval()
    caught = PenultimateFeatures(network, num_classes=10, wanted_by="x")
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with pytest.raises(RuntimeError, match="of this test"), caught:
        network(images)
        (gradient,) = torch.autograd.grad(caught.latest.sum(), images)
        assert gradient.abs().max() > 0
        raise RuntimeError("of this test")
    assert not any(module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize("network", [nn.Conv2d(1, 10, 1), nn.Sequential(nn.Linear(4, 10), nn.Linear(10, 7))])
def test_a_network_that_does_not_end_in_its_classes_is_refused(network: nn.Module) -> None:
    with pytest.raises(ValueError, match="^a looks at .* does not end in a Linear layer of 10 classes. Take one"):
        PenultimateFeatures(network, num_classes=10, wanted_by="a")

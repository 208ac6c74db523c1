from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dfkd.models import build_model
from dfkd.synthesis.classifier import find_classifier


@pytest.mark.parametrize(
    ("architecture", "name"), [("resnet18", "fc"), ("vgg11", "classifier"), ("wrn_16_1", "fc"), ("lenet5", "fc.2")]
)
def test_it_is_the_layer_that_gives_the_logits(architecture: str, name: str) -> None:
    network = build_model(architecture, num_classes=10, in_channels=3).train()
    assert find_classifier(network, (3, 32, 32), wanted_by="a test") is network.get_submodule(name)
    assert all(module.training and not module._forward_hooks for module in network.modules())


def test_a_network_that_changes_the_last_linear_layers_outputs_is_refused(
    tiny_network: Callable[..., nn.Module],
) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = tiny_network()

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = 2 * self.inner(images)
            return logits

    with pytest.raises(ValueError, match="^cpnet reads the weights .* Scaled does not end in a Linear layer"):
        find_classifier(Scaled(), (1, 8, 8), wanted_by="cpnet")


def test_a_network_without_linear_layers_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten())
    assert network(torch.zeros(1, 1, 8, 8)).shape == (1, 3)
    with pytest.raises(ValueError, match="does not end in a Linear layer"):
        find_classifier(network, (1, 8, 8), wanted_by="cpnet")

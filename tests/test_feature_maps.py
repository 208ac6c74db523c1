from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dfkd.feature_maps import FeatureMaps
from dfkd.models import build_model

IMAGES = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in network.modules())


def outputs_of(network: nn.Module, names: list[str], images: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    handles = [
        network.get_submodule(name).register_forward_hook(
            lambda _m, _i, output, name=name: found.update({name: output})
        )
        for name in names
    ]
    network(images)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize(
    ("architecture", "layers"),
    [
        ("wrn_16_1", {(32, 32): "block1", (16, 16): "block2"}),  # not the BN with which the next stage begins
        ("resnet8", {(32, 32): "layer1", (16, 16): "layer2", (8, 8): "layer3"}),
        ("resnet18", {(32, 32): "layer1", (16, 16): "layer2", (8, 8): "layer3", (4, 4): "layer4"}),
    ],
)
def test_maps_are_what_the_stages_give(architecture: str, layers: dict[tuple[int, int], str]) -> None:
    network = build_model(architecture, num_classes=3, in_channels=1).eval()
    images = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = outputs_of(network, list(layers.values()), images)
    with FeatureMaps(network, (1, 32, 32)) as maps:
        network(images)
        for size, name in layers.items():
            assert torch.equal(maps.latest[size], expected[name]), name


def test_every_resolution_of_a_plain_sequence_has_a_map_in_the_order_of_the_pass() -> None:
    network = nn.Sequential(
        nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 3, 3, padding=1, stride=2), nn.AdaptiveAvgPool2d(1)
        ),
        nn.Flatten(),
        nn.Linear(3, 2),
    )
    with FeatureMaps(network, (1, 8, 8)) as maps:
        network(torch.randn(2, 1, 8, 8))
        assert maps.sizes == ((8, 8), (4, 4), (1, 1))
        assert {size: found.shape[1] for size, found in maps.latest.items()} == {(8, 8): 2, (4, 4): 3, (1, 1): 3}
        assert float(maps.latest[8, 8].detach().min()) == 0  # what the ReLU gives, and not the convolution


def test_hooks_and_maps_are_there_while_open_and_gone_after(tiny_network: Callable[..., nn.Module]) -> None:
    network, images = tiny_network(), torch.randn(2, 1, 8, 8)
    maps = FeatureMaps(network, (1, 8, 8))
    assert hooks(network) == len(maps.sizes) == 3
    maps.close()
    network(images)
    assert hooks(network) == 0 and not maps.latest
    with pytest.raises(RuntimeError, match="of the caller"), maps:
        network(images)
        assert hooks(network) == 3 and set(maps.latest) == set(maps.sizes)
        raise RuntimeError("of the caller")
    assert hooks(network) == 0 and not maps.latest


def test_finding_the_layers_leaves_the_network_as_it_was(tiny_network: Callable[..., nn.Module]) -> None:
    network = tiny_network()
    network.features[1].eval()  # one layer in another mode than the others
    modes = [module.training for module in network.modules()]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    FeatureMaps(network, (1, 8, 8)).close()
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_frozen_network_is_differentiated_by_its_maps_where_that_is_asked(
    tiny_network: Callable[..., nn.Module],
) -> None:
    network = tiny_network().eval()
    with FeatureMaps(network, (1, 8, 8), hooked=False) as maps:
        trained = network(IMAGES)
        expected = torch.autograd.grad(trained[:, 2].sum(), [maps.latest[8, 8], maps.latest[4, 4]])
    network.requires_grad_(False)
    with FeatureMaps(network, (1, 8, 8), hooked=False, starts_graph=True) as maps:
        logits = network(IMAGES)
        found = torch.autograd.grad(logits[:, 2].sum(), [maps.latest[8, 8], maps.latest[4, 4]])
    assert torch.equal(logits, trained)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert not network(IMAGES).requires_grad


def test_what_follows_a_map_may_work_in_place() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 3, stride=2)

        def forward(self, images: Tensor) -> Tensor:
            maps = self.first(images)
            maps.relu_()
            result: Tensor = self.second(maps).mean(dim=(2, 3))
            return result

    network = InPlace().requires_grad_(False)
    with FeatureMaps(network, (1, 8, 8), hooked=False, starts_graph=True) as maps:
        logits = network(IMAGES)
        (gradient,) = torch.autograd.grad(logits.sum(), maps.latest[8, 8])
    assert gradient.abs().max() > 0

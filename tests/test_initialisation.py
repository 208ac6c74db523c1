import torch
from torch import nn

from dfkd.initialisation import reset_layers, reset_layers_normally


def test_layers_are_drawn_as_torch_draws_them() -> None:
    # torch: weight and bias uniform on +-1/sqrt(fan-in): 1/sqrt(100) and 1/sqrt(4 * 5 * 5) = 0.1 here
    for layer in (nn.Linear(100, 80), nn.Conv2d(4, 80, 5)):
        reset_layers(layer, torch.Generator().manual_seed(0))
        weight = layer.weight.detach()
        assert 0.099 < weight.abs().max() <= 0.1
        assert abs(float(weight.std()) - 0.1 / 3**0.5) < 0.002
        assert layer.bias is not None and 0.05 < layer.bias.detach().abs().max() <= 0.1


def test_the_seed_decides_and_the_global_random_state_is_not_used() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    before = torch.get_rng_state()
    reset_layers(network, torch.Generator().manual_seed(0))
    first = network[0].weight.detach().clone()
    reset_layers(network, torch.Generator().manual_seed(0))
    assert torch.equal(network[0].weight, first)
    reset_layers(network, torch.Generator().manual_seed(1))
    assert not torch.equal(network[0].weight, first)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_norm_layer_is_the_identity_again() -> None:
    layer = nn.BatchNorm1d(4)
    with torch.no_grad():
        layer.weight.fill_(3)
    layer(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)) + 5)
    reset_layers(layer, torch.Generator())
    assert layer.weight.tolist() == [1] * 4
    assert layer.running_mean is not None and layer.running_mean.tolist() == [0] * 4


def test_a_normal_reset_draws_weights_around_zero_and_scales_around_one() -> None:
    network = nn.Sequential(nn.Linear(100, 80), nn.Conv2d(8, 80, 3), nn.BatchNorm2d(2000))
    reset_layers_normally(network, torch.Generator().manual_seed(0))
    for layer, mean in zip(network, (0, 0, 1), strict=True):
        weight = layer.weight.detach()
        assert abs(float(weight.mean()) - mean) < 0.0025
        assert 0.0185 < float(weight.std()) < 0.0215
        assert layer.bias is not None and not layer.bias.any()

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dfkd.compression import num_bytes, prune, pruned_bytes, sparsity_for
from dfkd.compression.pruning import correct_batch_norm

Make = Callable[..., nn.Module]


@pytest.fixture
def images() -> Tensor:
    return torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network(tiny_network: Make, images: Tensor) -> nn.Module:
    """A network whose BatchNorm statistics are those of the images."""
    network = tiny_network(0)
    with torch.no_grad():
        for _ in range(60):
            network.train()(images)
    return network.eval()


def weights(network: nn.Module) -> Tensor:
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return torch.cat([layer.weight.detach().flatten() for layer in layers])


def test_the_smallest_weights_of_all_layers_together_become_zero(network: nn.Module, images: Tensor) -> None:
    before, after = weights(network), weights(prune(network, images, sparsity=0.7))
    gone = after == 0
    assert gone.float().mean() == pytest.approx(0.7, abs=1 / len(gone))
    assert torch.equal(after[~gone], before[~gone])
    assert before[gone].abs().max() <= before[~gone].abs().min()


def test_the_teacher_stays_as_it_is_and_the_pruned_one_is_plain(network: nn.Module, images: Tensor) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    pruned = prune(network, images, sparsity=0.5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert set(pruned.state_dict()) == set(before)  # no masks beside the weights
    assert not any(module.training or module._forward_pre_hooks for module in pruned.modules())
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_the_memory_layout_makes_no_difference(network: nn.Module, images: Tensor) -> None:
    plain = weights(prune(network, images, sparsity=0.5))
    channels_last = network.to(memory_format=torch.channels_last)
    assert torch.equal(weights(prune(channels_last, images, sparsity=0.5)), plain)


def test_nothing_pruned_is_nothing_changed_whatever_the_images(network: nn.Module, images: Tensor) -> None:
    same = prune(network, 3 * images + 1, sparsity=0.0)
    assert torch.allclose(same(images), network(images), atol=1e-6)


def test_statistics_move_to_those_of_the_pruned_network_where_the_images_are_the_training_images(
    network: nn.Module, images: Tensor
) -> None:
    pruned = prune(network, images, sparsity=0.6)
    seen: list[Tensor] = []
    norms = [module for module in pruned.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    pruned(images)
    for norm, inputs in zip(norms, seen, strict=True):
        variance, mean = torch.var_mean(inputs, dim=(0, 2, 3), correction=0)
        assert torch.allclose(norm.running_mean, mean, atol=0.02)
        assert torch.allclose(norm.running_var, variance, rtol=0.05, atol=1e-4)


def test_statistics_move_by_what_changed_and_not_to_the_images_own() -> None:
    """One layer by hand: its inputs double, so what it remembers doubles (variances fourfold), wherever it stood."""
    network, doubled = (nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1)).eval() for _ in range(2))
    nn.init.constant_(network[0].weight, 1.0)
    nn.init.constant_(doubled[0].weight, 2.0)
    for model in (network, doubled):
        nn.init.constant_(model[1].running_mean, 5.0)
        nn.init.constant_(model[1].running_var, 7.0)
    images = torch.tensor([0.0, 2.0]).view(2, 1, 1, 1)  # mean 1, variance 1; doubled: 2 and 4
    correct_batch_norm(doubled, network, images)
    assert doubled[1].running_mean.item() == pytest.approx(10.0)
    assert doubled[1].running_var.item() == pytest.approx(28.0)
    assert torch.allclose(doubled(images), network(images), atol=1e-5)


def test_a_channel_that_pruning_made_constant_says_nothing_afterwards() -> None:
    network, dead = (nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1)).eval() for _ in range(2))
    nn.init.constant_(network[0].weight, 1.0)
    nn.init.constant_(dead[0].weight, 0.0)
    nn.init.constant_(dead[1].running_mean, 5.0)
    correct_batch_norm(dead, network, torch.tensor([0.0, 2.0]).view(2, 1, 1, 1))
    assert torch.equal(dead(torch.rand(3, 1, 1, 1)), torch.zeros(3, 1, 1, 1))  # and not 5 standard deviations


def test_a_channel_that_these_images_do_not_reach_stays_as_it_was() -> None:
    network, pruned = (nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1)).eval() for _ in range(2))
    nn.init.constant_(pruned[1].running_mean, 5.0)
    correct_batch_norm(pruned, network, torch.zeros(2, 1, 1, 1))
    assert (pruned[1].running_mean.item(), pruned[1].running_var.item()) == (5.0, 1.0)


def test_a_network_without_batch_norm_is_pruned_too(tiny_network: Make, images: Tensor) -> None:
    assert (weights(prune(tiny_network(0, batch_norm=False).eval(), images, sparsity=0.5)) == 0).float().mean() > 0.49


def test_bytes_are_the_kept_weights_a_bit_for_each_place_and_the_rest() -> None:
    network = nn.Sequential(nn.Linear(10, 8))  # 80 weights, 8 biases
    pruned = prune(network, torch.zeros(2, 10), sparsity=0.75)
    assert num_bytes(network) == 4 * 88
    assert pruned_bytes(pruned) == 4 * (20 + 8) + 80 // 8


def test_a_wanted_size_is_met(network: nn.Module, images: Tensor) -> None:
    wanted = num_bytes(network) // 2
    sparsity = sparsity_for(network, wanted)
    assert sparsity is not None
    assert pruned_bytes(prune(network, images, sparsity=sparsity)) == pytest.approx(wanted, abs=4)
    assert sparsity_for(network, 10) is None  # not even the mask
    assert sparsity_for(network, 2 * num_bytes(network)) is None


def test_a_network_that_cannot_be_pruned_is_refused_with_what_to_set() -> None:
    with pytest.raises(ValueError, match="could be pruned .*Ask for int8 alone"):
        prune(nn.Sequential(nn.Flatten()), torch.zeros(2, 1, 1, 1), sparsity=0.5)

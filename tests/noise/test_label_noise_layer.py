import torch

from dfkd.noise.label_noise_layer import NoisyLinear
from dfkd.settings.synthesis import LabelNoiseLayer

EMBEDDINGS = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([2, 0, 2, 1, 2, 0])


def noisy_linear(images_per_class: int = 3) -> NoisyLinear:
    layer = NoisyLinear(LabelNoiseLayer(width=20), EMBEDDINGS, images_per_class=images_per_class)
    layer.start_round(torch.Generator().manual_seed(1))
    return layer


def latents(layer: NoisyLinear, labels: torch.Tensor = LABELS) -> torch.Tensor:
    drawn = layer.draw(labels, torch.Generator())
    return layer(labels, drawn).detach().squeeze(0)


def test_the_ith_image_of_a_class_goes_through_layer_i() -> None:
    layer = noisy_linear()
    normalised = layer.norm(EMBEDDINGS)
    occurrence = [0, 0, 1, 0, 2, 1]  # of its class, in LABELS
    rows = [normalised[label] @ layer.weights[i] for label, i in zip(LABELS.tolist(), occurrence, strict=True)]
    torch.testing.assert_close(latents(layer), torch.stack(rows).detach())


def test_images_of_one_class_differ_in_any_order_of_labels() -> None:
    layer = noisy_linear(images_per_class=4)
    labels = torch.arange(3).repeat(4)[torch.randperm(12, generator=torch.Generator().manual_seed(3))]
    assert len(latents(layer, labels).unique(dim=0)) == 12


def test_more_images_than_layers_go_round_again() -> None:
    repeated = latents(noisy_linear(images_per_class=2), torch.tensor([1, 1, 1]))
    assert torch.equal(repeated[0], repeated[2])
    assert not torch.equal(repeated[0], repeated[1])


def test_a_new_round_redraws_the_weights_in_place_and_says_so() -> None:
    layer = noisy_linear()
    pointers = [parameter.data_ptr() for parameter in layer.parameters()]
    before = latents(layer)
    assert layer.start_round(torch.Generator().manual_seed(2)) is True
    assert not torch.allclose(latents(layer), before)
    assert [parameter.data_ptr() for parameter in layer.parameters()] == pointers
    layer.start_round(torch.Generator().manual_seed(1))
    assert torch.equal(latents(layer), before)


def test_weights_are_drawn_from_a_unit_gaussian() -> None:
    weights = noisy_linear(images_per_class=100).weights  # 32,000 values: standard errors 0.0056 and 0.0079
    assert abs(float(weights.detach().mean())) < 5 * 0.0056
    assert abs(float(weights.detach().var()) - 1) < 5 * 0.0079


def test_a_round_forgets_batch_norm_too_and_new_weights_alone_do_not() -> None:
    layer = noisy_linear()
    with torch.no_grad():
        layer.norm.weight.fill_(3)
    before = layer.weights.detach().clone()
    layer.reset_weights(torch.Generator().manual_seed(2))
    assert layer.norm.weight.tolist() == [3] * 16
    assert not torch.allclose(layer.weights, before)
    layer.start_round(torch.Generator().manual_seed(2))
    assert layer.norm.weight.tolist() == [1] * 16

import pytest
import torch

from dfkd.generators import GENERATORS, build_generator
from dfkd.generators.upsampling import UpsamplingGenerator
from dfkd.settings.synthesis import GeneratorSettings

LATENTS = torch.randn(6, 12, generator=torch.Generator().manual_seed(0))


def generator(image_shape: tuple[int, int, int] = (1, 8, 8), **settings: int) -> UpsamplingGenerator:
    made = build_generator(GeneratorSettings(width=4, **settings), latent_width=12, image_shape=image_shape)
    made.reset_parameters(torch.Generator().manual_seed(0))
    return made


def test_the_table_holds_what_settings_offer() -> None:
    assert list(GENERATORS) == [GeneratorSettings().name]


@pytest.mark.parametrize("num_doublings", [1, 2, 3])
@pytest.mark.parametrize("image_shape", [(1, 8, 8), (3, 28, 28), (3, 7, 10), (1, 1, 3)])
def test_images_have_the_shape_and_range_asked_for(image_shape: tuple[int, int, int], num_doublings: int) -> None:
    images = generator(image_shape, num_doublings=num_doublings)(LATENTS)
    assert images.shape == (6, *image_shape)
    assert 0 <= images.min() < images.max() <= 1


def test_it_has_the_layers_of_its_source() -> None:
    # Linear Z -> 2g * 2 * 2, BN, conv 2g -> 2g, BN, conv 2g -> g, BN, conv g -> C, with g = 4; biases everywhere.
    linear, norms = 13 * 8 * 4, 2 * (8 + 8 + 4)
    convolutions = (8 * 9 + 1) * 8 + (8 * 9 + 1) * 4 + (4 * 9 + 1) * 1
    assert sum(parameter.numel() for parameter in generator().parameters()) == linear + norms + convolutions


def test_different_latents_give_different_images() -> None:
    assert len(generator()(LATENTS).detach().flatten(1).unique(dim=0)) == 6


def test_reset_changes_all_values_in_the_same_tensors() -> None:
    made = generator()
    before = {name: (tensor.data_ptr(), tensor.clone()) for name, tensor in made.state_dict().items()}
    made(LATENTS).sum().backward()
    torch.optim.SGD(made.parameters(), lr=1.0).step()
    made.reset_parameters(torch.Generator().manual_seed(1))
    for name, tensor in made.state_dict().items():
        pointer, old = before[name]
        assert tensor.data_ptr() == pointer, name
        is_norm_layer = "norm" in name or "blocks.0.2" in name or "blocks.1.2" in name
        assert torch.equal(tensor, old) == is_norm_layer, name  # a fresh norm layer is the identity again


def test_reset_with_one_seed_gives_one_generator() -> None:
    trained = generator()
    trained(LATENTS)  # moves the running statistics
    trained.reset_parameters(torch.Generator().manual_seed(0))
    for one, other in zip(trained.state_dict().values(), generator().state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_an_optimiser_keeps_pointing_at_the_parameters() -> None:
    made = generator()
    optimizer = torch.optim.SGD(made.parameters(), lr=1.0)
    made.reset_parameters(torch.Generator().manual_seed(1))
    before = made.to_image.bias.detach().clone()
    made(LATENTS).sum().backward()
    optimizer.step()
    assert not torch.equal(made.to_image.bias, before)


def test_an_image_can_be_finished_from_any_stage() -> None:
    settings = GeneratorSettings(width=4, num_doublings=2)
    generator = UpsamplingGenerator(settings, latent_width=5, image_shape=(3, 10, 12)).eval()
    latents = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    stages, images = generator.stages(latents), generator(latents)
    assert [tuple(stage.shape) for stage in stages] == [(3, 8, 3, 3), (3, 8, 6, 6), (3, 4, 12, 12)]
    for index, stage in enumerate(stages):
        assert torch.equal(generator.finish(stage, index), images)
    assert not torch.equal(generator.finish(stages[1].flip(1), 1), images)

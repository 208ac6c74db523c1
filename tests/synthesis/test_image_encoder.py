import pytest
import torch

from dfkd.synthesis.image_encoder import ImageEncoder


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (28, 28), (5, 17)])
def test_any_size_of_image_has_a_gaussian_of_latents(size: tuple[int, int]) -> None:
    encoder = ImageEncoder(width=2, latent_width=6, image_shape=(3, *size))
    mean, log_variance = encoder(torch.randn(4, 3, *size, generator=torch.Generator().manual_seed(0)))
    assert mean.shape == log_variance.shape == (4, 6)
    assert not torch.equal(mean, log_variance)


def test_every_layer_has_a_gradient() -> None:
    encoder = ImageEncoder(width=2, latent_width=6, image_shape=(1, 8, 8))
    mean, log_variance = encoder(torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    (mean.square().sum() + log_variance.square().sum()).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())

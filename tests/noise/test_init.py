import pytest
import torch

from dfkd.noise import build_noise_layer
from dfkd.settings.synthesis import CategoryEmbeddingNoise, GaussianNoise, LabelNoiseLayer, NoiseSettings

ALL = [
    CategoryEmbeddingNoise(),
    CategoryEmbeddingNoise(num_sources=1),
    LabelNoiseLayer(width=9),
    GaussianNoise(width=9),
]


@pytest.mark.parametrize("settings", ALL)
def test_every_layer_turns_labels_into_latents_of_its_width_and_a_seed_decides_them(settings: NoiseSettings) -> None:
    labels = torch.tensor([0, 2, 2, 9, 1])

    def latents(seed: int) -> torch.Tensor:
        random = torch.Generator().manual_seed(seed)
        embeddings = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
        layer = build_noise_layer(settings, embeddings, images_per_class=2)
        layer.start_round(random)
        made = layer(labels, layer.draw(labels, random)).detach()
        assert made.shape == (layer.num_sources, len(labels), layer.width)
        return made

    assert latents(1).isfinite().all()
    assert torch.equal(latents(1), latents(1))
    assert not torch.equal(latents(1), latents(2))

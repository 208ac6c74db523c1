"""What a generator is fed: one noise layer a file. ``noise.sources`` holds the distributions that CEND draws from."""

from __future__ import annotations

from torch import Tensor

from dfkd.noise.category_embedding import CategoryEmbedding
from dfkd.noise.gaussian import GaussianLatents
from dfkd.noise.label_noise_layer import NoisyLinear
from dfkd.noise.protocol import NoiseLayer as NoiseLayer
from dfkd.settings.synthesis import CategoryEmbeddingNoise, LabelNoiseLayer, NoiseSettings


def build_noise_layer(
    settings: NoiseSettings, label_embeddings: Tensor, *, images_per_class: int
) -> CategoryEmbedding | NoisyLinear | GaussianLatents:
    """Return the noise layer of the settings.

    Args:
        settings: which layer, and its own settings.
        label_embeddings: [K, E], raw.
        images_per_class: how many images of one class a synthesis batch holds at most.
    """
    if isinstance(settings, CategoryEmbeddingNoise):
        return CategoryEmbedding(settings, label_embeddings)
    if isinstance(settings, LabelNoiseLayer):
        return NoisyLinear(settings, label_embeddings, images_per_class=images_per_class)
    return GaussianLatents(settings)

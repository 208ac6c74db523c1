"""Settings that methods share: what feeds a generator, the generator, and the weights of the inversion losses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from dfkd.settings.checks import (
    check_at_least,
    check_choice,
    check_each,
    check_positive,
)

#: The order in which CEND takes noise sources (the first N are used). Zero mean and unit variance each.
STANDARD_NOISE_SOURCES = ("gaussian", "uniform", "laplace", "rademacher", "logistic", "triangular")
#: Sources whose shape survives the first Linear layer of a generator (see ``dfkd.noise.sources``).
STRUCTURED_NOISE_SOURCES = ("class_correlated", "low_rank", "sparse", "heavy_tailed")
NOISE_SOURCE_NAMES = STANDARD_NOISE_SOURCES + STRUCTURED_NOISE_SOURCES


@dataclass(frozen=True, kw_only=True, slots=True)
class CategoryEmbeddingNoise:
    """CEND: label embeddings diffused by N noise sources, ``e_n = e_off + M_n * q_n`` (CAE-DFKD).

    N = 4 is the paper's best. Distributions and magnitudes are our reading. The classes of standardised embeddings stay
    separable up to a magnitude of about 3, but students are far better at 4 to 16, where the images of a class differ
    (docs/findings.md, 2026-11-22).
    """

    name: Literal["category_embedding"] = "category_embedding"
    num_sources: int = 4
    distributions: tuple[str, ...] = STANDARD_NOISE_SOURCES  # repeated cyclically if fewer than num_sources
    magnitude_range: tuple[float, float] = (4.0, 16.0)  # equal ends give every source one magnitude
    learnable_magnitudes: bool = False

    def __post_init__(self) -> None:
        check_at_least("num_sources", self.num_sources, 1)
        if not self.distributions:
            raise ValueError("distributions: expected at least one noise source, got none.")
        for distribution in self.distributions:
            check_choice("distributions", distribution, NOISE_SOURCE_NAMES)
        low, high = self.magnitude_range
        check_positive("magnitude_range", low)
        check_at_least("magnitude_range", high, low)

    def source_names(self) -> tuple[str, ...]:
        """Return the N distributions in use, in order."""
        return tuple(self.distributions[n % len(self.distributions)] for n in range(self.num_sources))

    def magnitudes(self) -> tuple[float, ...]:
        """Return M_1..M_N: geometric over the range; a single source has the range's geometric mean."""
        low, high = self.magnitude_range
        if self.num_sources == 1:
            return (math.sqrt(low * high),)
        ratio = math.log(high / low) / (self.num_sources - 1)
        return tuple(low * math.exp(n * ratio) for n in range(self.num_sources))


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelNoiseLayer:
    """NAYER's noisy layer: label embedding -> BN -> a Linear layer that is re-initialised every round."""

    name: Literal["label_noise_layer"] = "label_noise_layer"
    width: int = 1000  # NAYER's public setting of the latent width

    def __post_init__(self) -> None:
        check_at_least("width", self.width, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class GaussianNoise:
    """Plain Gaussian latents that know nothing of the class: the baseline without language."""

    name: Literal["gaussian"] = "gaussian"
    width: int = 256  # the latent width of CMI and FastDFKD

    def __post_init__(self) -> None:
        check_at_least("width", self.width, 1)


NoiseSettings = CategoryEmbeddingNoise | LabelNoiseLayer | GaussianNoise


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratorSettings:
    """The generator: Linear, then ``num_doublings`` times up-sampling and convolution."""

    name: Literal["upsampling"] = "upsampling"
    width: int = 64  # g in the method sheet: channels before the last convolution
    num_doublings: int = 2  # 2 for small images, 5 for 224 pixels

    def __post_init__(self) -> None:
        check_each(self, lambda name, value: check_at_least(name, value, 1), "width", "num_doublings")


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthesisWeights:
    """Weights of the generator loss. Defaults: NAYER's public settings, which our reading of CAE-DFKD shares."""

    one_hot: float = 0.5
    batch_norm: float = 10.0
    adversarial: float = 1.33

    def __post_init__(self) -> None:
        check_each(self, lambda name, value: check_at_least(name, value, 0), "one_hot", "batch_norm", "adversarial")

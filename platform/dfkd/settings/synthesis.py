"""Settings of the synthesis methods, of what feeds their generators, and of CNCL."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from dfkd.settings.checks import (
    check_at_least,
    check_choice,
    check_each,
    check_fraction,
    check_positive,
)

#: The order in which CEND takes noise sources (the first N are used). Zero mean and unit variance each.
STANDARD_NOISE_SOURCES = ("gaussian", "uniform", "laplace", "rademacher", "logistic", "triangular")
#: Sources whose shape survives the first Linear layer of a generator (see ``dfkd.noise.sources``).
STRUCTURED_NOISE_SOURCES = ("class_correlated", "low_rank", "sparse", "heavy_tailed")
NOISE_SOURCE_NAMES = STANDARD_NOISE_SOURCES + STRUCTURED_NOISE_SOURCES
CONTRAST_KINDS = ("none", "bank", "fresh", "supervised", "simclr")


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


@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastSettings:
    """CNCL and its controls.

    ``bank``: pairs among the distilled batch, by its stored labels and sources. ``fresh``: half of the batch comes
    from the generator at this moment, and pairs are made there. ``supervised``: as ``bank`` but blind to sources.
    ``simclr``: two views of one image, blind to labels. ``none``: no contrastive loss.
    """

    kind: Literal["none", "bank", "fresh", "supervised", "simclr"] = "bank"
    weight: float = 0.5  # lambda, our reading
    temperature: float = 0.1  # t, our reading
    width: int = 128  # of the projection, as in SupCon (Khosla et al., NeurIPS 2020)
    only_matching: bool = False  # contrast only images that the teacher gives their label

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, CONTRAST_KINDS)
        check_at_least("weight", self.weight, 0)
        check_positive("temperature", self.temperature)
        check_at_least("width", self.width, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class CategoryAwareSettings:
    """CAE-DFKD (our reading). Defaults follow NAYER's public schedule for CIFAR-10."""

    method: Literal["cae"] = "cae"
    noise: NoiseSettings = field(default_factory=CategoryEmbeddingNoise)
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    weights: SynthesisWeights = field(default_factory=SynthesisWeights)
    contrast: ContrastSettings = field(default_factory=ContrastSettings)
    batch_size: int = 400  # global, split over workers
    generator_steps: int = 30  # a round; NAYER: 30 / 40 / 60 for CIFAR-10 / CIFAR-100 / Tiny-ImageNet
    learning_rate: float = 4e-3
    betas: tuple[float, float] = (0.5, 0.999)
    warm_up_epochs: int = 20  # fill the bank; no student step, no adversarial term
    warm_up_rounds: int = 10  # a warm-up epoch
    rounds_per_epoch: int = 2
    reset_generator_every: int = 10  # epochs; 0 = never
    redraw_noise: bool = False  # new q_n for every generator step instead of every round
    bank_capacity: int = 50_000  # images of one worker
    # Shares of the classes that images are made for. The student's batches are class-balanced whatever it says, as CNCL
    # wants them.
    class_prior: Literal["uniform", "teacher"] | tuple[float, ...] = "uniform"

    def __post_init__(self) -> None:
        check_each(
            self,
            lambda name, value: check_at_least(name, value, 1),
            "batch_size",
            "generator_steps",
            "rounds_per_epoch",
            "bank_capacity",
        )
        check_each(self, lambda name, value: check_at_least(name, value, 0), "warm_up_epochs", "warm_up_rounds")
        check_at_least("reset_generator_every", self.reset_generator_every, 0)
        check_positive("learning_rate", self.learning_rate)
        check_each_beta(self.betas)
        if self.warm_up_epochs and not self.warm_up_rounds:
            raise ValueError("warm_up_rounds: expected at least 1 while warm_up_epochs is above 0, got 0.")
        num_sources = self.noise.num_sources if isinstance(self.noise, CategoryEmbeddingNoise) else 1
        if self.batch_size < num_sources:
            raise ValueError(
                f"batch_size: expected at least one image a noise source ({num_sources}), got {self.batch_size}."
            )
        if isinstance(self.class_prior, tuple):
            for share in self.class_prior:
                check_at_least("class_prior", share, 0)
            if not math.isclose(sum(self.class_prior), 1.0, abs_tol=1e-3):
                raise ValueError(f"class_prior: shares must sum to 1, got {sum(self.class_prior):g}.")


def check_each_beta(betas: tuple[float, float]) -> None:
    """Raise ValueError unless both of Adam's betas lie in [0, 1)."""
    for beta in betas:
        check_fraction("betas", beta)


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomNoiseSettings:
    """KD on random images: the floor that every method must beat. Nothing is learnt but the student."""

    method: Literal["random_noise"] = "random_noise"


SynthesisSettings = CategoryAwareSettings | RandomNoiseSettings

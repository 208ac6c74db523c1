"""Settings of CAE-DFKD: its noise, its schedule and CNCL."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dfkd.settings.checks import check_at_least, check_choice, check_positive
from dfkd.settings.synthesis.method import BankedSettings
from dfkd.settings.synthesis.parts import CategoryEmbeddingNoise, GaussianNoise, NoiseSettings, SynthesisWeights

CONTRAST_KINDS = ("none", "bank", "fresh", "supervised", "simclr")


@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastSettings:
    """CNCL and its controls.

    ``bank``: pairs among the distilled batch, by its stored labels and sources. ``fresh``: half of the batch comes
    from the generator at this moment, and pairs are made there. ``supervised``: as ``bank`` but blind to sources.
    ``simclr``: two views of one image, cropped, resized and colour-jittered, blind to labels. ``none``: no such loss.
    """

    kind: Literal["none", "bank", "fresh", "supervised", "simclr"] = "bank"
    weight: float = 0.5  # lambda, our reading
    temperature: float = 0.1  # t, our reading
    width: int = 128  # of the projection, as in SupCon (Khosla et al., NeurIPS 2020)
    only_matching: bool = False  # contrast only images that the teacher gives their label
    across_workers: bool = True  # candidates are everybody's images; False: each worker contrasts its own

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, CONTRAST_KINDS)
        check_at_least("weight", self.weight, 0)
        check_positive("temperature", self.temperature)
        check_at_least("width", self.width, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class CategoryAwareSettings(BankedSettings):
    """CAE-DFKD (our reading). Defaults follow NAYER's public schedule for CIFAR-10."""

    TITLE: ClassVar[str] = "CAE-DFKD (our reading)"
    PRIOR: ClassVar[str] = "text"
    COUNTED_IN_EPOCHS: ClassVar[tuple[str, ...]] = ("reset_generator_every",)

    method: Literal["cae"] = "cae"
    noise: NoiseSettings = field(default_factory=CategoryEmbeddingNoise)
    weights: SynthesisWeights = field(default_factory=SynthesisWeights)
    contrast: ContrastSettings = field(default_factory=ContrastSettings)
    reset_generator_every: int = 10  # epochs; 0 = never
    redraw_noise: bool = False  # new q_n for every generator step instead of every round
    # Shares of the classes that images are made for. The student's batches are class-balanced whatever it says, as CNCL
    # wants them.
    class_prior: Literal["uniform", "teacher"] | tuple[float, ...] = "uniform"

    def __post_init__(self) -> None:
        BankedSettings.__post_init__(self)  # super() fails in a dataclass with slots
        check_at_least("reset_generator_every", self.reset_generator_every, 0)
        num_sources = self.noise.num_sources if isinstance(self.noise, CategoryEmbeddingNoise) else 1
        if self.batch_size < num_sources:
            raise ValueError(
                f"batch_size: expected at least one image a noise source ({num_sources}), got {self.batch_size}."
            )
        if isinstance(self.noise, GaussianNoise) and self.contrast.kind == "fresh":
            raise ValueError(
                "contrast.kind: 'fresh' pairs new images by the class that they are made for, and new 'gaussian' "
                "latents are made for none. Use 'bank', whose images were optimised towards their labels, or another "
                "noise."
            )
        if isinstance(self.class_prior, tuple):
            for share in self.class_prior:
                check_at_least("class_prior", share, 0)
            if not math.isclose(sum(self.class_prior), 1.0, abs_tol=1e-3):
                raise ValueError(f"class_prior: shares must sum to 1, got {sum(self.class_prior):g}.")

    @property
    def batch_norm_weight(self) -> float:
        """Weight of the BatchNorm statistics."""
        return self.weights.batch_norm


def _preset(generator_steps: int, distillation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a preset on NAYER's public schedule of 300 epochs, as ``nayer_300`` is for CIFAR-10.

    The bank is part of every checkpoint (50,000 images of 64x64 are 614 MB), so that these are rare.
    """
    rounds = {"warm_up_epochs": 20, "warm_up_rounds": 10, "rounds_per_epoch": 2, "batch_size": 400}
    return {
        "synthesis": {"method": "cae", "generator_steps": generator_steps} | rounds,
        "distillation": {"epochs": 300, "checkpoint_every": 10} | distillation,
    }


#: Our reading for the data sets that the paper reports beside CIFAR-10. Tiny-ImageNet: NAYER's learning rate for its
#: smaller batches, but two rounds of 400 an epoch where NAYER has four of 200, so that CEND has more classes a batch.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "cae_cifar100": _preset(40, {"steps_per_epoch": 400, "batch_size": 512, "learning_rate": 0.2}),
    "cae_tiny_imagenet": _preset(60, {"steps_per_epoch": 1000, "batch_size": 256, "learning_rate": 0.1}),
}

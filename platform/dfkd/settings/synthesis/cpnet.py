"""Settings of CPNet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dfkd.settings.checks import check_at_least, check_each, check_fraction
from dfkd.settings.synthesis.method import RoundsSettings
from dfkd.settings.synthesis.parts import LabelNoiseLayer


@dataclass(frozen=True, kw_only=True, slots=True)
class CPNetWeights:
    """Weights of the generator's loss, ``one_hot + batch_norm + coupling + adversarial (KL + alignment)``.

    Defaults: public code. Its scripts also give ``--dist``, 0 to 1 by pair, which that code never reads: the alignment
    has weight 1 in it.
    """

    one_hot: float = 0.5
    batch_norm: float = 10.0
    coupling: float = 1.0
    adversarial: float = 1.33
    alignment: float = 1.0  # within the adversarial term

    def __post_init__(self) -> None:
        check_each(
            self,
            lambda name, value: check_at_least(name, value, 0),
            "one_hot",
            "batch_norm",
            "coupling",
            "adversarial",
            "alignment",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CPNetSettings(RoundsSettings):
    """CPNet. Defaults: the public code's for CIFAR-10, which are NAYER's and its own."""

    TITLE: ClassVar[str] = "CPNet"
    PRIOR: ClassVar[str] = "text"
    COUNTED_IN_EPOCHS: ClassVar[tuple[str, ...]] = ("reset_generator_every",)

    method: Literal["cpnet"] = "cpnet"
    noise: LabelNoiseLayer = field(default_factory=LabelNoiseLayer)
    weights: CPNetWeights = field(default_factory=CPNetWeights)
    generator_steps: int = 30  # a round
    reset_generator_every: int = 10  # epochs; 0 = never
    statistics_momentum: float = 0.9  # share of earlier rounds in the statistics that are matched
    label_smoothing: float = 0.1  # of the labels that the alignment inverts
    colour_jitter: float = 0.1
    colour_jitter_probability: float = 0.4  # of an image
    cut_mix_probability: float = 0.5  # of a batch, and within it of an image

    def __post_init__(self) -> None:
        RoundsSettings.__post_init__(self)
        check_at_least("generator_steps", self.generator_steps, 1)
        check_at_least("reset_generator_every", self.reset_generator_every, 0)
        check_each(
            self,
            check_fraction,
            "statistics_momentum",
            "colour_jitter",
            "colour_jitter_probability",
            "cut_mix_probability",
        )
        if not 0 < self.label_smoothing < 1:
            raise ValueError(f"label_smoothing: expected a number between 0 and 1, got {self.label_smoothing!r}.")

    @property
    def batch_norm_weight(self) -> float:
        """0, so that the method itself refuses a teacher without BatchNorm: no weight could help there."""
        return 0.0


def _preset(generator_steps: int, epochs: int) -> dict[str, dict[str, Any]]:
    return {
        "synthesis": {"method": "cpnet", "generator_steps": generator_steps},
        "distillation": {"epochs": epochs, "steps_per_epoch": 400, "batch_size": 512},
    }


#: The public code's ``cpnet_100.sh`` and ``cpnet_300.sh``, warm-up of 20 epochs before.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "cpnet_cifar10": _preset(30, 100),
    "cpnet_cifar10_300": _preset(30, 300),
    "cpnet_cifar100": _preset(40, 100),
    "cpnet_cifar100_300": _preset(40, 300),
    "cpnet_tiny_imagenet": {
        "synthesis": {
            "method": "cpnet",
            "batch_size": 200,
            "generator_steps": 60,
            "warm_up_rounds": 20,
            "rounds_per_epoch": 4,
        },
        "distillation": {"epochs": 100, "steps_per_epoch": 1000, "batch_size": 256},
    },
}

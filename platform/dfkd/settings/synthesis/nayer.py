"""Settings of NAYER and its published presets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dfkd.settings.checks import check_at_least
from dfkd.settings.synthesis.method import BankedSettings
from dfkd.settings.synthesis.parts import LabelNoiseLayer, SynthesisWeights


@dataclass(frozen=True, kw_only=True, slots=True)
class NayerSettings(BankedSettings):
    """NAYER. Defaults: the public script for CIFAR-10, scripts/nayer_100.sh, but for the bank (see ``PRESETS``)."""

    TITLE: ClassVar[str] = "NAYER"
    PRIOR: ClassVar[str] = "text"
    COUNTED_IN_EPOCHS: ClassVar[tuple[str, ...]] = ("reset_generator_every",)

    method: Literal["nayer"] = "nayer"
    noise: LabelNoiseLayer = field(default_factory=LabelNoiseLayer)
    weights: SynthesisWeights = field(default_factory=SynthesisWeights)
    batch_norm_momentum: float = 0.9  # no script names it; the default of the public datafree_kd.py
    reset_generator_every: int = 10  # epochs; 0 = never

    def __post_init__(self) -> None:
        BankedSettings.__post_init__(self)
        check_at_least("reset_generator_every", self.reset_generator_every, 0)

    @property
    def batch_norm_weight(self) -> float:
        """Weight of the BatchNorm statistics."""
        return self.weights.batch_norm


def _preset(synthesis: dict[str, Any], distillation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a preset of 300 epochs (the public 100 and 200 are ``distillation.epochs``), with what all scripts share.

    The public code never throws an image away: 320,000 of them in 300 epochs, which are 1 GB at 32x32 and part of every
    checkpoint, so that these are rare.
    """
    shared = {
        "method": "nayer",
        "warm_up_epochs": 20,
        "learning_rate": 4e-3,
        "bank_capacity": 320_000,
        "batch_norm_momentum": 0.9,
        "reset_generator_every": 10,
        "weights": {"one_hot": 0.5, "batch_norm": 10.0, "adversarial": 1.33},
    }
    student = {"epochs": 300, "temperature": 20.0, "checkpoint_every": 10}
    return {"synthesis": shared | synthesis, "distillation": student | distillation}


_CIFAR = {"batch_size": 400, "warm_up_rounds": 10, "rounds_per_epoch": 2}
_CIFAR_STUDENT = {"steps_per_epoch": 400, "batch_size": 512, "learning_rate": 0.2}
#: The public scripts/nayer_300.sh, one preset a data set; the pairs of networks of a data set share their settings.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "nayer_cifar10": _preset(_CIFAR | {"generator_steps": 30}, _CIFAR_STUDENT),
    "nayer_cifar100": _preset(_CIFAR | {"generator_steps": 40}, _CIFAR_STUDENT),
    "nayer_tiny_imagenet": _preset(
        {"batch_size": 200, "warm_up_rounds": 20, "rounds_per_epoch": 4, "generator_steps": 60},
        {"steps_per_epoch": 1000, "batch_size": 256, "learning_rate": 0.1},
    ),
}

"""Settings of FastDFKD and its published presets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dfkd.settings.checks import check_at_least, check_choice, check_positive
from dfkd.settings.synthesis.method import BankedSettings
from dfkd.settings.synthesis.parts import SynthesisWeights


@dataclass(frozen=True, kw_only=True, slots=True)
class FastSettings(BankedSettings):
    """FastDFKD. Defaults: Fast-10 for the WRN pairs, the public scripts/fast_cifar.sh, but for the bank."""

    TITLE: ClassVar[str] = "FastDFKD"
    COUNTED_IN_EPOCHS: ClassVar[tuple[str, ...]] = ("reset_first_layer_in",)

    method: Literal["fast_dfkd"] = "fast_dfkd"
    meta: Literal["fomaml", "reptile"] = "fomaml"  # how the meta-generator learns from the inner steps
    weights: SynthesisWeights = field(default_factory=lambda: SynthesisWeights(one_hot=0.4, adversarial=1.1))
    latent_width: int = 256  # Z
    latents_learning_rate: float = 0.01
    batch_size: int = 256
    generator_steps: int = 10  # k, the inner steps of a batch
    learning_rate: float = 2e-3  # of the inner steps; the meta-generator's is k times this
    warm_up_rounds: int = 1
    rounds_per_epoch: int = 1
    batch_norm_momentum: float = 0.9
    # The epoch with student steps, counted from 1, that begins with a new first layer; 0 = none. A constant of the
    # public code, switched on in all its scripts.
    reset_first_layer_in: int = 120

    def __post_init__(self) -> None:
        BankedSettings.__post_init__(self)
        check_choice("meta", self.meta, ("fomaml", "reptile"))
        check_at_least("latent_width", self.latent_width, 1)
        check_positive("latents_learning_rate", self.latents_learning_rate)
        check_at_least("reset_first_layer_in", self.reset_first_layer_in, 0)

    @property
    def batch_norm_weight(self) -> float:
        """Weight of the BatchNorm statistics."""
        return self.weights.batch_norm


def _preset(
    generator_steps: int, learning_rate: float, latents_learning_rate: float, *, one_hot: float, adversarial: float
) -> dict[str, dict[str, Any]]:
    return {
        "synthesis": {
            "method": "fast_dfkd",
            "meta": "fomaml",
            "generator_steps": generator_steps,
            "learning_rate": learning_rate,
            "latents_learning_rate": latents_learning_rate,
            "batch_size": 256,
            "warm_up_epochs": 20,
            "warm_up_rounds": 1,
            "rounds_per_epoch": 1,
            "bank_capacity": 56_320,  # every image of 220 epochs
            "batch_norm_momentum": 0.9,
            "reset_first_layer_in": 120,
            "weights": {"one_hot": one_hot, "batch_norm": 10.0, "adversarial": adversarial},
        },
        "distillation": {
            "epochs": 200,
            "steps_per_epoch": 400,
            "batch_size": 256,
            "learning_rate": 0.2,
            "temperature": 20.0,
        },
    }


_STEPS = {2: (5e-3, 0.015), 5: (3e-3, 0.01), 10: (2e-3, 0.01)}  # k -> learning rates of generator and latents
_PAIRS = {"": (0.4, 1.1), "_resnet34": (0.5, 1.33), "_vgg11": (0.5, 1.0)}  # weights one-hot and adversarial, by teacher
#: The public scripts/fast_cifar.sh, for CIFAR-10 and CIFAR-100 alike: ``fast_2``, ``fast_5`` and ``fast_10`` for WRN
#: teachers, and as many each for ResNet-34 and VGG-11.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    f"fast_{steps}{teacher}": _preset(steps, *rates, one_hot=one_hot, adversarial=adversarial)
    for teacher, (one_hot, adversarial) in _PAIRS.items()
    for steps, rates in _STEPS.items()
}

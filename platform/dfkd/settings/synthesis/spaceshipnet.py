"""Settings of SpaceshipNet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dfkd.settings.checks import check_at_least, check_each
from dfkd.settings.synthesis.method import BankedSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceshipNetWeights:
    """Weights of the generator's loss (the first two) and of mSARC, the student's (the others). Defaults: public code.

    Those of mSARC stand beside the KD loss times ``distillation.weight``, which the public code sets to 1/K by taking
    the mean over classes too; the presets do the same.
    """

    one_hot: float = 0.5
    batch_norm: float = 1.0
    class_maps: float = 1.0  # of class activation maps of the last feature map
    grad_cams: float = 1.0  # of Grad-CAMs, at every resolution

    def __post_init__(self) -> None:
        check_each(
            self,
            lambda name, value: check_at_least(name, value, 0),
            "one_hot",
            "batch_norm",
            "class_maps",
            "grad_cams",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceshipNetSettings(BankedSettings):
    """SpaceshipNet. Defaults: the public code's for CIFAR.

    Its bank holds the generator's feature maps, in 16 bits: 213 kB an image of 32x32 with a generator of width 64 and
    all three stages, 10.9 GB for the published 51,200 images, in memory and in a checkpoint; stages (0, 1) take 38 % of
    that.
    """

    TITLE: ClassVar[str] = "SpaceshipNet"

    method: Literal["spaceshipnet"] = "spaceshipnet"
    weights: SpaceshipNetWeights = field(default_factory=SpaceshipNetWeights)
    latent_width: int = 256  # Z, of Gaussian latents
    batch_size: int = 256
    generator_steps: int = 200
    learning_rate: float = 1e-3
    warm_up_epochs: int = 0
    rounds_per_epoch: int = 1
    bank_capacity: int = 51_200  # nothing is ever dropped in the 200 published epochs
    stages: tuple[int, ...] = (0, 1, 2)  # of the generator, whose maps are kept and exchanged; 0 is before any doubling
    exchange_probability: float = 0.7  # of a student batch

    def __post_init__(self) -> None:
        BankedSettings.__post_init__(self)
        check_at_least("latent_width", self.latent_width, 1)
        if not 0 <= self.exchange_probability <= 1:
            raise ValueError(f"exchange_probability: expected a number in [0, 1], got {self.exchange_probability!r}.")
        last = self.generator.num_doublings
        if not self.stages or len(set(self.stages)) < len(self.stages):
            raise ValueError(f"stages: expected one or more different stages, got {list(self.stages)}.")
        for stage in self.stages:
            if not 0 <= stage <= last:
                raise ValueError(
                    f"stages: a generator with generator.num_doublings {last} has the stages 0 to {last}, got {stage}."
                )

    @property
    def batch_norm_weight(self) -> float:
        """Weight of the BatchNorm statistics."""
        return self.weights.batch_norm


def _preset(*, num_classes: int, epochs: int) -> dict[str, dict[str, Any]]:
    return {
        "synthesis": {"method": "spaceshipnet"},
        "distillation": {
            "epochs": epochs,
            "steps_per_epoch": 2000,
            "batch_size": 256,
            "learning_rate": 0.1,
            "temperature": 30.0,
            "weight": 1 / num_classes,
            "checkpoint_every": 20,  # epochs: the features go into every checkpoint
        },
    }


#: One file of the public code's ``scripts/`` each. Tiny-ImageNet: features of 102,400 images of 64x64 would take 87 GB;
#: the bank keeps the newest half.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "spaceshipnet_cifar10": _preset(num_classes=10, epochs=200),
    "spaceshipnet_cifar100": _preset(num_classes=100, epochs=200),
    "spaceshipnet_tiny_imagenet": _preset(num_classes=200, epochs=400),
}

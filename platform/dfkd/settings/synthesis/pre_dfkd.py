"""Settings of PRE-DFKD."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dfkd.settings.checks import check_at_least, check_each, check_fraction, check_positive
from dfkd.settings.synthesis.method import OnlineSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayWeights:
    """Weights of the generator loss. Defaults: the public code's."""

    one_hot: float = 1.0
    information_entropy: float = 5.0  # in decimal digits, as in DAFL's code
    activation: float = 0.1
    disagreement: float = 1.0

    def __post_init__(self) -> None:
        check_each(
            self,
            lambda name, value: check_at_least(name, value, 0),
            "one_hot",
            "information_entropy",
            "activation",
            "disagreement",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerativeMemorySettings:
    """The VAE that remembers former images, and how it is asked for them. Defaults: the public code's."""

    width: int = 64  # channels of its first convolution
    learning_rate: float = 5e-4  # a fortieth of the generator's
    steps: int = 4  # a turn: the first ones of the student, on whose images the memory learns
    divergence: float = 1e-5  # weight of the VAE's KL term
    latent_steps: int = 1  # by which latents are improved before they are recalled
    latent_learning_rate: float = 0.02  # Adam's

    def __post_init__(self) -> None:
        check_at_least("width", self.width, 1)
        check_each(self, lambda name, value: check_at_least(name, value, 0), "steps", "divergence", "latent_steps")
        check_each(self, check_positive, "learning_rate", "latent_learning_rate")


@dataclass(frozen=True, kw_only=True, slots=True)
class PreDfkdSettings(OnlineSettings):
    """PRE-DFKD. Defaults: the public code's, for CIFAR-100 with ResNet-34 and ResNet-18."""

    TITLE: ClassVar[str] = "PRE-DFKD"

    method: Literal["pre_dfkd"] = "pre_dfkd"
    latent_width: int = 1000
    batch_size: int = 1024
    student_steps: int = 10
    learning_rate: float = 0.02
    weights: ReplayWeights = field(default_factory=ReplayWeights)
    memory: GenerativeMemorySettings = field(default_factory=GenerativeMemorySettings)
    replay_share: float = 1 / 9  # of the student's images: 128 beside 1024 new ones

    def __post_init__(self) -> None:
        OnlineSettings.__post_init__(self)
        check_fraction("replay_share", self.replay_share)


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "pre_dfkd_cifar100": {
        "synthesis": {
            "method": "pre_dfkd",
            "latent_width": 1000,
            "batch_size": 1024,
            "generator_steps": 1,
            "student_steps": 10,
            "learning_rate": 0.02,
            "decay": {"kind": "none"},
        },
        "distillation": {
            "epochs": 400,
            "steps_per_epoch": 360,  # 36 turns
            "batch_size": 1152,  # 1024 new images and 128 recalled ones
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "decay": {"kind": "cosine"},
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "loss": "l1",
        },
    },
}

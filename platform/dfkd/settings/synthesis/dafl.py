"""Settings of DAFL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dfkd.settings.checks import check_at_least, check_each
from dfkd.settings.synthesis.method import OnlineSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class DaflWeights:
    """Weights of the generator loss. Defaults: DAFL's README for CIFAR-10."""

    one_hot: float = 0.05  # oh
    information_entropy: float = 5.0  # ie; the entropy is in decimal digits
    activation: float = 0.01  # a; 0 for a teacher whose penultimate features cannot be had

    def __post_init__(self) -> None:
        names = ("one_hot", "information_entropy", "activation")
        check_each(self, lambda name, value: check_at_least(name, value, 0), *names)


@dataclass(frozen=True, kw_only=True, slots=True)
class DaflSettings(OnlineSettings):
    """DAFL (Chen et al., ICCV 2019). Defaults follow its README for CIFAR-10."""

    TITLE: ClassVar[str] = "DAFL"
    KEEPS_BATCH: ClassVar[bool] = True

    method: Literal["dafl"] = "dafl"
    weights: DaflWeights = field(default_factory=DaflWeights)
    latent_width: int = 1000
    batch_size: int = 1024
    learning_rate: float = 0.02


_DISTILLATION: dict[str, Any] = {
    "epochs": 2000,
    "steps_per_epoch": 120,
    "batch_size": 1024,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "decay": {"kind": "steps", "milestones": [0.4, 0.8], "factor": 0.1},  # epochs 800 and 1600
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "loss": "kl",
    "temperature": 1.0,
}

#: The README's commands for ResNet-34 -> ResNet-18 (github.com/huawei-noah/Efficient-Computing, DAFL).
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "dafl_cifar10": {
        "synthesis": {
            "method": "dafl",
            "weights": {"one_hot": 0.05, "information_entropy": 5.0, "activation": 0.01},
            "latent_width": 1000,
            "batch_size": 1024,
            "learning_rate": 0.02,
        },
        "distillation": _DISTILLATION,
    },
    "dafl_cifar100": {
        "synthesis": {
            "method": "dafl",
            "weights": {"one_hot": 0.5, "information_entropy": 20.0, "activation": 0.1},
            "latent_width": 1000,
            "batch_size": 1024,
            "learning_rate": 0.02,
        },
        "distillation": _DISTILLATION,
    },
}

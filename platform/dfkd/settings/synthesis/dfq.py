"""Settings of DFQ."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dfkd.settings.checks import check_at_least, check_each
from dfkd.settings.synthesis.method import OnlineSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class DfqWeights:
    """Weights of the generator loss. Defaults: the scripts of CMI's public code."""

    adversarial: float = 1.0
    batch_norm: float = 1.0
    one_hot: float = 1.0
    information_entropy: float = 20.0  # "balance"

    def __post_init__(self) -> None:
        names = ("adversarial", "batch_norm", "one_hot", "information_entropy")
        check_each(self, lambda name, value: check_at_least(name, value, 0), *names)


@dataclass(frozen=True, kw_only=True, slots=True)
class DfqSettings(OnlineSettings):
    """DFQ (Choi et al., CVPR Workshops 2020), without quantisation. Defaults: CMI's public code, WRN pairs."""

    TITLE: ClassVar[str] = "DFQ"

    method: Literal["dfq"] = "dfq"
    weights: DfqWeights = field(default_factory=DfqWeights)
    student_steps: int = 10
    betas: tuple[float, float] = (0.5, 0.999)

    @property
    def batch_norm_weight(self) -> float:
        """Weight of the BatchNorm statistics."""
        return self.weights.batch_norm


_SYNTHESIS: dict[str, Any] = {
    "method": "dfq",
    "weights": {"adversarial": 1.0, "batch_norm": 1.0, "one_hot": 1.0, "information_entropy": 20.0},
    "latent_width": 256,
    "batch_size": 256,
    "generator_steps": 1,
    "student_steps": 10,
    "learning_rate": 1e-3,
    "betas": [0.5, 0.999],
    "decay": {"kind": "none"},
}
_DISTILLATION: dict[str, Any] = {
    "epochs": 200,
    "steps_per_epoch": 400,
    "batch_size": 256,
    "optimizer": "sgd",
    "decay": {"kind": "cosine"},
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "loss": "kl",
}

#: CMI's scripts (github.com/zju-vipa/CMI, scripts/dfq): CIFAR-10 for WRN-40-2 -> WRN-16-1, CIFAR-100 for ResNet-34 ->
#: ResNet-18. The authors of DFQ published no code.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "dfq_cifar10": {
        "synthesis": _SYNTHESIS,
        "distillation": _DISTILLATION | {"learning_rate": 0.1, "temperature": 20.0},
    },
    "dfq_cifar100": {
        "synthesis": _SYNTHESIS,
        "distillation": _DISTILLATION | {"learning_rate": 0.05, "temperature": 1.0},
    },
}

"""Settings of ZSKT."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dfkd.settings.checks import check_at_least
from dfkd.settings.decay import Decay
from dfkd.settings.synthesis.method import OnlineSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class ZsktSettings(OnlineSettings):
    """ZSKT (Micaelli and Storkey, NeurIPS 2019). Defaults: its public scripts for CIFAR-10."""

    TITLE: ClassVar[str] = "ZSKT"
    KEEPS_BATCH: ClassVar[bool] = True

    method: Literal["zskt"] = "zskt"
    attention_weight: float = 250.0  # beta, against a KL that is divided by the number of classes
    latent_width: int = 100
    batch_size: int = 128
    student_steps: int = 10
    decay: Decay = field(default_factory=Decay)  # a cosine
    gradient_clip: float | None = 50.0  # 5 of a KL that is divided by 10 classes

    def __post_init__(self) -> None:
        OnlineSettings.__post_init__(self)
        check_at_least("attention_weight", self.attention_weight, 0)


#: The scripts for WRN pairs (github.com/polo5/ZeroShotKnowledgeTransfer, scripts/ZeroShot): 80,000 turns.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "zskt_cifar10": {
        "synthesis": {
            "method": "zskt",
            "attention_weight": 250.0,
            "latent_width": 100,
            "batch_size": 128,
            "generator_steps": 1,
            "student_steps": 10,
            "learning_rate": 1e-3,
            "decay": {"kind": "cosine"},
            "gradient_clip": 50.0,
        },
        "distillation": {
            "epochs": 200,
            "steps_per_epoch": 4000,
            "batch_size": 128,
            "optimizer": "adam",
            "learning_rate": 2e-3,
            "decay": {"kind": "cosine"},
            "weight_decay": 0.0,
            "loss": "kl",
            "temperature": 1.0,
            "gradient_clip": 50.0,
        },
    },
}

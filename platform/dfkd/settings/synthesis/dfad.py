"""Settings of DFAD."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dfkd.settings.decay import Decay
from dfkd.settings.synthesis.method import OnlineSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class DfadSettings(OnlineSettings):
    """DFAD (Fang et al., 2019). Defaults: its public command for CIFAR."""

    TITLE: ClassVar[str] = "DFAD"

    method: Literal["dfad"] = "dfad"
    student_steps: int = 5
    decay: Decay = field(default_factory=lambda: Decay(kind="steps", milestones=(0.2, 0.4)))  # epochs 100, 200 of 500


_CIFAR: dict[str, dict[str, Any]] = {
    "synthesis": {
        "method": "dfad",
        "latent_width": 256,
        "batch_size": 256,
        "generator_steps": 1,
        "student_steps": 5,
        "learning_rate": 1e-3,
        "decay": {"kind": "steps", "milestones": [0.2, 0.4], "factor": 0.1},
    },
    "distillation": {
        "epochs": 500,
        "steps_per_epoch": 250,  # 50 turns
        "batch_size": 256,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "decay": {"kind": "steps", "milestones": [0.2, 0.4], "factor": 0.1},
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "loss": "l1",
    },
}

#: The README's commands for ResNet-34 -> ResNet-18 (github.com/VainF/Data-Free-Adversarial-Distillation).
PRESETS: dict[str, dict[str, dict[str, Any]]] = {"dfad_cifar10": _CIFAR, "dfad_cifar100": _CIFAR}

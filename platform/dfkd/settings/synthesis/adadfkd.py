"""Settings of AdaDFKD."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dfkd.settings.checks import check_at_least, check_each, check_positive, check_share
from dfkd.settings.synthesis.method import OnlineSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class RelationWeights:
    """Weights of the generator loss. Defaults: the public scripts', the same in all of them but Tiny-ImageNet's."""

    one_hot: float = 1.0
    batch_norm: float = 1.0
    information_entropy: float = 20.0
    adversarial: float = 1.0
    relation: float = 0.1  # Tiny-ImageNet: 0.05

    def __post_init__(self) -> None:
        check_each(
            self,
            lambda name, value: check_at_least(name, value, 0),
            "one_hot",
            "batch_norm",
            "information_entropy",
            "adversarial",
            "relation",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RelationSettings:
    """Relations between samples: a queue of the student's features, and the ring of it that counts as negatives.

    The ring starts at the least similar features and reaches the most similar ones between two shares of the run.
    """

    temperature: float = 0.07  # of both contrasts
    queue_length: int = 4096  # features; CIFAR-100: 12,288, WRN pairs 8192 to 16,384
    ring_share: float = 0.9  # of the queue; CIFAR-100 and WRN pairs: 0.8
    ring_moves: tuple[float, float] = (0.25, 0.75)  # shares of the run; CIFAR-100: 0.2 to 0.8
    student_weight: float = 0.1  # of the student's contrast

    def __post_init__(self) -> None:
        check_positive("temperature", self.temperature)
        check_at_least("queue_length", self.queue_length, 1)
        check_share("ring_share", self.ring_share)
        begin, end = self.ring_moves
        if not 0 <= begin < end <= 1:
            raise ValueError(f"ring_moves: expected two rising shares in [0, 1], got {list(self.ring_moves)}.")
        check_at_least("student_weight", self.student_weight, 0)

    def ring_start(self, progress: float) -> float:
        """Return where the ring starts in the sorted queue, at ``progress`` in [0, 1) of the run."""
        begin, end = self.ring_moves
        return (1 - self.ring_share) * min(1.0, max(0.0, (progress - begin) / (end - begin)))


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaDfkdSettings(OnlineSettings):
    """AdaDFKD. Defaults: the public script for CIFAR-10 with ResNet-34 and ResNet-18."""

    TITLE: ClassVar[str] = "AdaDFKD"

    method: Literal["adadfkd"] = "adadfkd"
    latent_width: int = 512
    batch_size: int = 768
    student_steps: int = 10
    betas: tuple[float, float] = (0.9, 0.99)
    weights: RelationWeights = field(default_factory=RelationWeights)
    relation: RelationSettings = field(default_factory=RelationSettings)
    entropy_temperature: float = 20.0  # CIFAR-100: 5, WRN pairs 2
    adversarial_temperature: float = 3.0
    pace_threshold: tuple[float, float] = (2.2, 14.2)  # first and last; the script: 2.2 + 1e-4 a step, 300 * 400 steps

    def __post_init__(self) -> None:
        OnlineSettings.__post_init__(self)
        check_each(self, check_positive, "entropy_temperature", "adversarial_temperature")
        for threshold in self.pace_threshold:
            check_at_least("pace_threshold", threshold, 0)

    @property
    def batch_norm_weight(self) -> float:
        """Weight of the BatchNorm statistics."""
        return self.weights.batch_norm


_TURN: dict[str, Any] = {
    "method": "adadfkd",
    "latent_width": 512,
    "generator_steps": 1,
    "student_steps": 10,
    "learning_rate": 1e-3,
    "betas": [0.9, 0.99],
    "decay": {"kind": "none"},
}
_STUDENT: dict[str, Any] = {
    "steps_per_epoch": 400,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "decay": {"kind": "cosine"},
    "momentum": 0.9,
    "weight_decay": 1e-4,
}

#: The public scripts, by data set and pair. Thresholds end where 1e-4 (CIFAR-10) or 2e-5 (CIFAR-100) a step leads.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "adadfkd_cifar10": {  # ResNet-34 to ResNet-18
        "synthesis": {
            **_TURN,
            "batch_size": 768,
            "entropy_temperature": 20.0,
            "pace_threshold": [2.2, 14.2],
            "relation": {"queue_length": 4096, "ring_share": 0.9, "ring_moves": [0.25, 0.75], "student_weight": 0.1},
        },
        "distillation": {**_STUDENT, "epochs": 300, "batch_size": 768, "loss": "kl", "temperature": 20.0},
    },
    "adadfkd_cifar10_wrn": {  # the file says WRN-40-2 to WRN-16-1, its arguments WRN-16-2
        "synthesis": {
            **_TURN,
            "batch_size": 1024,
            "entropy_temperature": 20.0,
            "pace_threshold": [1.5, 21.5],
            "relation": {"queue_length": 8192, "ring_share": 0.8, "ring_moves": [0.0, 0.75], "student_weight": 0.1},
        },
        "distillation": {**_STUDENT, "epochs": 500, "batch_size": 1024, "loss": "kl", "temperature": 20.0},
    },
    "adadfkd_cifar100": {  # the file says ResNet-34 to ResNet-18, its arguments VGG-11 as teacher
        "synthesis": {
            **_TURN,
            "batch_size": 1024,
            "entropy_temperature": 5.0,
            "pace_threshold": [1.0, 4.2],
            "relation": {"queue_length": 12288, "ring_share": 0.8, "ring_moves": [0.2, 0.8], "student_weight": 0.1},
        },
        "distillation": {**_STUDENT, "epochs": 400, "batch_size": 1024, "loss": "l1"},
    },
    "adadfkd_cifar100_wrn": {  # WRN-40-2 to WRN-16-2
        "synthesis": {
            **_TURN,
            "batch_size": 1024,
            "entropy_temperature": 2.0,
            "pace_threshold": [1.2, 5.2],
            "relation": {"queue_length": 16384, "ring_share": 0.8, "ring_moves": [0.2, 0.79], "student_weight": 0.15},
        },
        "distillation": {**_STUDENT, "epochs": 500, "batch_size": 1024, "loss": "kl", "temperature": 2.0},
    },
}

"""Settings of the student's training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dfkd.settings.checks import check_at_least, check_choice, check_each, check_fraction, check_positive
from dfkd.settings.decay import Decay


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillationSettings:
    """How the student learns. Defaults: NAYER's public settings for CIFAR."""

    epochs: int = 100  # with student steps; a method's warm-up comes before them
    steps_per_epoch: int = 400
    batch_size: int = 512  # global, split over workers
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.2
    decay: Decay = field(default_factory=Decay)  # of the learning rate, over the epochs after warm-up
    momentum: float = 0.9  # of "sgd"
    weight_decay: float = 1e-4
    loss: Literal["kl", "l1"] = "kl"  # of the student's logits against the teacher's
    temperature: float = 20.0  # tau of "kl"
    gradient_clip: float | None = None  # the longest gradient of a step, in the L2 norm; None: any
    weight: float = 1.0  # of this loss, beside the terms that a method adds
    compile_teacher: bool = False  # in student steps, where no method looks into its layers
    checkpoint_every: int = 1  # epochs

    def __post_init__(self) -> None:
        check_each(
            self,
            lambda name, value: check_at_least(name, value, 1),
            "epochs",
            "steps_per_epoch",
            "batch_size",
            "checkpoint_every",
        )
        check_choice("optimizer", self.optimizer, ("sgd", "adam"))
        check_choice("loss", self.loss, ("kl", "l1"))
        check_each(self, check_positive, "learning_rate", "temperature", "weight")
        check_fraction("momentum", self.momentum)
        check_at_least("weight_decay", self.weight_decay, 0)
        if self.gradient_clip is not None:
            check_positive("gradient_clip", self.gradient_clip)

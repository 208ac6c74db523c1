"""Settings of the student's training, and the named schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dfkd.settings.checks import (
    check_at_least,
    check_each,
    check_fraction,
    check_positive,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillationSettings:
    """How the student learns. Defaults: NAYER's public settings for CIFAR."""

    epochs: int = 100  # with student steps; a method's warm-up comes before them
    steps_per_epoch: int = 400
    batch_size: int = 512  # global, split over workers
    learning_rate: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 1e-4
    temperature: float = 20.0  # tau of the KD loss
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
        check_each(self, check_positive, "learning_rate", "temperature")
        check_fraction("momentum", self.momentum)
        check_at_least("weight_decay", self.weight_decay, 0)


#: Named schedules: values that stand under a config's own. ``nayer_*`` follow NAYER's public CIFAR-10 schedule
#: (CIFAR-100: generator_steps 40; Tiny-ImageNet: 60, with 1000 steps of 256); ``cpu_*`` are ours, sized for two cores.
SCHEDULES: dict[str, dict[str, dict[str, Any]]] = {
    "nayer_100": {
        "synthesis": {
            "warm_up_epochs": 20,
            "warm_up_rounds": 10,
            "rounds_per_epoch": 2,
            "generator_steps": 30,
            "batch_size": 400,
        },
        "distillation": {"epochs": 100, "steps_per_epoch": 400, "batch_size": 512},
    },
    "nayer_300": {
        "synthesis": {
            "warm_up_epochs": 20,
            "warm_up_rounds": 10,
            "rounds_per_epoch": 2,
            "generator_steps": 30,
            "batch_size": 400,
        },
        "distillation": {"epochs": 300, "steps_per_epoch": 400, "batch_size": 512},
    },
    "cpu_small": {
        "synthesis": {
            "warm_up_epochs": 2,
            "warm_up_rounds": 8,
            "rounds_per_epoch": 2,
            "generator_steps": 30,
            "batch_size": 200,
        },
        "distillation": {"epochs": 20, "steps_per_epoch": 60, "batch_size": 128},
    },
}

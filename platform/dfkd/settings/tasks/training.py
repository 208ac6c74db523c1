"""What every task that trains something has in common."""

from __future__ import annotations

from dataclasses import dataclass, field

from dfkd.settings.checks import check_at_least, check_each, check_fraction
from dfkd.settings.decay import Decay


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSettings:
    """SGD with momentum. Each task adds its learning rates and gives its protocol's numbers."""

    epochs: int
    batch_size: int
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decay: Decay = field(default_factory=Decay)

    def __post_init__(self) -> None:
        check_each(self, lambda name, value: check_at_least(name, value, 1), "epochs", "batch_size")
        check_fraction("momentum", self.momentum)
        check_at_least("weight_decay", self.weight_decay, 0)

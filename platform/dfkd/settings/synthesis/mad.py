"""Settings of MAD, as we read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dfkd.settings.checks import check_at_least, check_each, check_fraction, check_positive
from dfkd.settings.synthesis.method import OnlineSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class MadWeights:
    """Weights of the generator loss. Its terms are the paper's, the weights ours."""

    one_hot: float = 1.0  # of a class-conditional generator
    adversarial: float = 1.0
    embedding_norm: float = 1.0  # of a class-conditional generator

    def __post_init__(self) -> None:
        check_each(self, lambda name, value: check_at_least(name, value, 0), "one_hot", "adversarial", "embedding_norm")


@dataclass(frozen=True, kw_only=True, slots=True)
class MadSettings(OnlineSettings):
    """MAD (our reading). What is not said to be the paper's is ours: no public code exists."""

    TITLE: ClassVar[str] = "MAD (our reading)"

    method: Literal["mad"] = "mad"
    ema_momentum: float = 0.95  # alpha; the paper's best
    ema_share: float = 0.5  # of the student's images that come from the EMA generator
    class_conditional: bool = True  # the paper's for large data sets (ImageNet, Places365, Food101)
    pretraining_steps: int = 200  # of a class-conditional generator, before the first turn; that there are some: paper
    adversarial_bound: float = 1.0  # nats; that there is one: paper
    weights: MadWeights = field(default_factory=MadWeights)

    def __post_init__(self) -> None:
        OnlineSettings.__post_init__(self)
        check_each(self, check_fraction, "ema_momentum", "ema_share")
        check_at_least("pretraining_steps", self.pretraining_steps, 0)
        check_positive("adversarial_bound", self.adversarial_bound)
        if self.pretraining_steps and not self.class_conditional:
            raise ValueError(
                "pretraining_steps: a generator without classes has nothing to be trained on before the student, "
                f"got {self.pretraining_steps}. Set it to 0, or class_conditional to true."
            )


#: The paper gives the EMA's momentum and, for small images, a generator without classes. Its steps and rates are not
#: known to us: these are the public ones of Adversarial Belief Matching (ZSKT, CIFAR-10), to which MAD adds the EMA.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "mad_cifar10": {
        "synthesis": {
            "method": "mad",
            "ema_momentum": 0.95,
            "class_conditional": False,
            "pretraining_steps": 0,
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

"""What the platform asks of every method's settings, and what methods with an image bank have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from dfkd.settings.checks import check_at_least, check_each, check_fraction, check_positive
from dfkd.settings.decay import Decay
from dfkd.settings.synthesis.parts import GeneratorSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodSettings:
    """Any method. Its settings add ``method``, a Literal of one name, by which a config chooses it."""

    TITLE: ClassVar[str]  # how tables call the method
    PRIOR: ClassVar[str] = "none"  # what it knows beside the teacher: "none", "text", "public images", ...
    COUNTED_IN_EPOCHS: ClassVar[tuple[str, ...]] = ()  # settings in epochs of a whole run: shorter runs shorten them
    FROM_REAL_IMAGES: ClassVar[bool] = False  # whether the student learns from real images instead of made ones

    @property
    def batch_norm_weight(self) -> float:
        """Weight of the loss that needs a teacher with BatchNorm; 0 where a method has none."""
        return 0.0

    @property
    def learnt_from(self) -> str:
        """What the student learns from, in words."""
        return f"real images ({self.PRIOR})" if self.FROM_REAL_IMAGES else "synthetic images, made from the teacher"


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundsSettings(MethodSettings):
    """A method that fills a bank in rounds, whatever makes the images, and distils on what the bank holds.

    Defaults: NAYER's public settings.
    """

    batch_size: int = 400  # images of a round; global, split over workers
    learning_rate: float = 4e-3
    betas: tuple[float, float] = (0.5, 0.999)
    warm_up_epochs: int = 20  # fill the bank; no student step, no adversarial term
    warm_up_rounds: int = 10  # a warm-up epoch
    rounds_per_epoch: int = 2
    bank_capacity: int = 50_000  # images, split over workers
    batch_norm_momentum: float = 0.0  # of the statistics that former rounds leave; 0 = each batch matches on its own

    @property
    def growing_rounds(self) -> int:
        """How many first rounds each cost more than the one before, because a memory fills; 0 where none does."""
        return 0

    def __post_init__(self) -> None:
        check_each(
            self, lambda name, value: check_at_least(name, value, 1), "batch_size", "rounds_per_epoch", "bank_capacity"
        )
        check_each(self, lambda name, value: check_at_least(name, value, 0), "warm_up_epochs", "warm_up_rounds")
        check_positive("learning_rate", self.learning_rate)
        for beta in self.betas:
            check_fraction("betas", beta)
        check_fraction("batch_norm_momentum", self.batch_norm_momentum)
        if self.bank_capacity < self.batch_size:
            raise ValueError(
                f"bank_capacity: expected room for one round's {self.batch_size} images (batch_size), got "
                f"{self.bank_capacity}."
            )
        if self.warm_up_epochs and not self.warm_up_rounds:
            raise ValueError("warm_up_rounds: expected at least 1 while warm_up_epochs is above 0, got 0.")


@dataclass(frozen=True, kw_only=True, slots=True)
class BankedSettings(RoundsSettings):
    """A method whose rounds train a generator of latents."""

    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    generator_steps: int = 30  # a round; NAYER: 30 / 40 / 60 for CIFAR-10 / CIFAR-100 / Tiny-ImageNet

    def __post_init__(self) -> None:
        RoundsSettings.__post_init__(self)
        check_at_least("generator_steps", self.generator_steps, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class OnlineSettings(MethodSettings):
    """A method without a bank: generator and student take turns, and every student step has new images.

    A turn is ``generator_steps`` steps of the generator and then ``student_steps`` of the student.
    """

    KEEPS_BATCH: ClassVar[bool] = False  # whether the student's steps of a turn learn from the generator's own batch

    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    latent_width: int = 256  # Z, of Gaussian latents
    batch_size: int = 256  # images of a generator step; global, split over workers
    generator_steps: int = 1
    student_steps: int = 1
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    decay: Decay = field(default_factory=lambda: Decay(kind="none"))  # of the generator's learning rate
    gradient_clip: float | None = None  # the longest gradient of a generator step, in the L2 norm; None: any

    def __post_init__(self) -> None:
        check_each(
            self,
            lambda name, value: check_at_least(name, value, 1),
            "latent_width",
            "batch_size",
            "generator_steps",
            "student_steps",
        )
        check_positive("learning_rate", self.learning_rate)
        for beta in self.betas:
            check_fraction("betas", beta)
        if self.gradient_clip is not None:
            check_positive("gradient_clip", self.gradient_clip)

"""Your own method: settings, a class and one line. This one makes images of which the teacher is sure, of every class.

``docs/adding-a-method.md`` says how a method becomes part of the package, with tests and a leaderboard row.

python docs/examples/own_method.py
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from handwritten_digits import IMAGE_SHAPE, MEAN, STD, accuracy, trained_network
from torch import Tensor

from dfkd import (
    SYNTHESIZERS,
    BatchNormStatistics,
    DistillationSettings,
    GeneratorSettings,
    Online,
    OnlineSettings,
    Teacher,
    distill_student,
    one_hot_loss,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SureSettings(OnlineSettings):
    """Settings of the method; ``batch_norm_weight`` refuses a teacher without BatchNorm in words."""

    TITLE: ClassVar[str] = "Sure images"

    method: Literal["sure"] = "sure"
    balance: float = 5.0

    @property
    def batch_norm_weight(self) -> float:
        """Weight of the BatchNorm statistics."""
        return 1.0


class Sure(Online):
    """The method: what its generator learns from. Turns, optimisers and the student's side are ``Online``'s."""

    def __init__(self, settings: SureSettings, *rest: object) -> None:
        super().__init__(settings, *rest)
        self.balance = settings.balance

    def generator_loss(self, images: Tensor, statistics: BatchNormStatistics) -> tuple[Tensor, dict[str, Tensor]]:
        """``CE(T(x), argmax T(x)) - balance H(mean T(x)) + BN statistics``."""
        logits = self.pair.teacher(self.domain.normalise(images))
        sure = one_hot_loss(logits, logits.argmax(dim=1))
        mean = logits.softmax(dim=1).mean(dim=0)
        entropy = -(mean * torch.log(mean + 1e-8)).sum()
        terms = {"sure": sure, "entropy": entropy, "batch_norm": statistics.loss()}
        loss = terms["sure"] - self.balance * terms["entropy"] + terms["batch_norm"]
        return loss, {name: term.detach() for name, term in terms.items()}


SYNTHESIZERS["sure"] = Sure

network = trained_network()
teacher = Teacher(model=network, class_names=[str(digit) for digit in range(10)], image_shape=IMAGE_SHAPE,
                  mean=MEAN, std=STD)  # fmt: skip
result = distill_student(
    teacher,
    "digits_student",
    synthesis=SureSettings(generator=GeneratorSettings(width=32), batch_size=128, student_steps=2),
    distillation=DistillationSettings(epochs=20, steps_per_epoch=40, batch_size=128, learning_rate=0.1),
    crop_padding=1,
    horizontal_flip=False,
    on_epoch=lambda report: print(f"epoch {report.epoch}: {report.metrics}"),
)
print(f"teacher {accuracy(network):.3f}, student {accuracy(result.student.cpu()):.3f}")

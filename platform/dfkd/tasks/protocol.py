"""What a task is: from a student, its teacher and real images to numbers whose names start with the task's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from dfkd.data.image_set import ImageSet

_IMAGES_AT_A_TIME = 512


@dataclass(frozen=True, kw_only=True, eq=False)  # no slots: the cached logits need a __dict__
class TaskInput:
    """A student, its teacher and real images. Each network sees each image once, however many tasks ask.

    Attributes:
        student: maps normalised images [B, C, H, W] to logits [B, K]; on ``device``.
        teacher: the same.
        images: N real images.
        normalise: maps images [B, C, H, W] in [0, 1] to what the networks take.
        teacher_normalise: the same for the teacher, where it takes another thing than the student.
        device: where the networks are.
        known_teacher_logits: [N, K] float32 on the CPU, where somebody has asked the teacher before.
        members: images that the teacher was trained on, where ``images`` are others and a task compares the two.
        synthetic: uint8 [S, C, H, W], made from the teacher, where there are any at hand.
    """

    student: nn.Module
    teacher: nn.Module
    images: ImageSet
    normalise: Callable[[Tensor], Tensor]
    teacher_normalise: Callable[[Tensor], Tensor] | None = None
    device: torch.device | str = "cpu"
    known_teacher_logits: Tensor | None = None
    members: ImageSet | None = None
    synthetic: Tensor | None = None

    @property
    def normalise_for_teacher(self) -> Callable[[Tensor], Tensor]:
        """Map images [B, C, H, W] in [0, 1] to what the teacher takes."""
        return self.teacher_normalise or self.normalise

    @cached_property
    def student_logits(self) -> Tensor:
        """[N, K] float32 on the CPU, without gradient."""
        return predict_logits(self.student, self.images.images, normalise=self.normalise, device=self.device)

    @cached_property
    def teacher_logits(self) -> Tensor:
        """[N, K] float32 on the CPU, without gradient."""
        logits = self.known_teacher_logits
        if logits is None:
            logits = predict_logits(
                self.teacher, self.images.images, normalise=self.normalise_for_teacher, device=self.device
            )
        if logits.shape != self.student_logits.shape:
            raise ValueError(
                f"student: expected logits for the teacher's {logits.shape[1]} classes, "
                f"got them for {self.student_logits.shape[1]}."
            )
        return logits

    @property
    def labels(self) -> Tensor:
        """[N] int64 on the CPU; raises ValueError where the images have none."""
        return self.images.require_labels().cpu()


#: Metrics by name; every name has the prefix ``<task>/``.
Task = Callable[[TaskInput], dict[str, float]]


def predict_logits(
    model: nn.Module, images: Tensor, *, normalise: Callable[[Tensor], Tensor], device: torch.device | str
) -> Tensor:
    """Return the logits of a network in evaluation mode, which it leaves again afterwards.

    Args:
        model: maps normalised images [B, C, H, W] to logits [B, K]; on ``device``.
        images: [N, C, H, W] uint8.
        normalise: maps images in [0, 1] to what the network takes.
        device: where the network is.

    Returns:
        [N, K] float32 on the CPU, without gradient.
    """
    pieces = []
    with evaluation_mode(model), torch.inference_mode():
        for piece in torch.split(images, _IMAGES_AT_A_TIME):
            logits = model(normalise(piece.to(device).float() / 255))  # [B, K]
            pieces.append(logits.float().cpu())
    return torch.cat(pieces)  # outside of inference mode: an ordinary tensor


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode; afterwards every module is in the mode it had."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training

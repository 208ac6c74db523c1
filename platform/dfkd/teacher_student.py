"""``TeacherStudent``: the pair of networks. The teacher never changes; the student may be frozen for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class TeacherStudent:
    """A frozen teacher in evaluation mode and the student that learns from it.

    Args:
        teacher: maps normalised images [B, C, H, W] to logits [B, K]. Frozen in place.
        student: the same, with ``forward_features`` [B, D], ``classify`` and ``feature_width``.

    Raises:
        ValueError: if both are one object, or share a parameter: the adversarial term would be zero without a word.
    """

    def __init__(self, teacher: nn.Module, student: nn.Module) -> None:
        teachers_own = {id(parameter) for parameter in teacher.parameters()}
        if any(id(parameter) in teachers_own for parameter in student.parameters()):
            raise ValueError(
                "student: expected a network of its own, got the teacher (or one that shares its weights)."
            )
        self.teacher = teacher.eval().requires_grad_(False)
        self.student = student

    @property
    def device(self) -> torch.device:
        """The device of the student's parameters."""
        return next(self.student.parameters()).device

    @contextmanager
    def frozen_student(self) -> Iterator[nn.Module]:
        """Give the student in evaluation mode without gradients for its weights; then restore both, layer by layer."""
        modes = [(module, module.training) for module in self.student.modules()]
        trainable = [parameter for parameter in self.student.parameters() if parameter.requires_grad]
        self.student.eval().requires_grad_(False)
        try:
            yield self.student
        finally:
            for parameter in trainable:
                parameter.requires_grad_(True)
            for module, training in modes:
                module.training = training

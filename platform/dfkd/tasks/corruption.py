"""How accurate a network stays when its images are corrupted."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dfkd.data.image_set import ImageSet
from dfkd.tasks.accuracy import top1
from dfkd.tasks.corruptions import CORRUPTIONS, SEVERITIES
from dfkd.tasks.protocol import TaskInput, predict_logits

NOISE_SEED = 0  # part of the exam: every network sees the same corrupted images
_IMAGES_AT_A_TIME = 1024


def corruption(task_input: TaskInput) -> dict[str, float]:
    """Return mean accuracy over all corruptions and severities of student and teacher, and the student's for each."""
    images, device = task_input.images, task_input.device
    student = accuracies(task_input.student, images, normalise=task_input.normalise, device=device)
    teacher = accuracies(task_input.teacher, images, normalise=task_input.normalise_for_teacher, device=device)
    return {
        "corruption/top1": statistics.fmean(student.values()),
        "corruption/teacher_top1": statistics.fmean(teacher.values()),
    } | {f"corruption/{name}": accuracy for name, accuracy in student.items()}


def accuracies(
    network: nn.Module, images: ImageSet, *, normalise: Callable[[Tensor], Tensor], device: torch.device | str
) -> dict[str, float]:
    """Return the accuracy under each corruption, the mean over its severities."""
    labels = images.require_labels().cpu()
    found: dict[str, float] = {}
    for name in CORRUPTIONS:
        each = [
            top1(
                predict_logits(network, corrupted(images.images, name, severity), normalise=normalise, device=device),
                labels,
            )
            for severity in SEVERITIES
        ]
        found[name] = statistics.fmean(each)
    return found


def corrupted(images: Tensor, name: str, severity: int) -> Tensor:
    """Return images [N, C, H, W] uint8 under one corruption, rounded to 8 bits as the published sets are.

    Equal images are corrupted equally.
    """
    random = torch.Generator().manual_seed(NOISE_SEED)
    pieces = [
        CORRUPTIONS[name](piece.cpu().float() / 255, severity, random).mul(255).round().to(torch.uint8)
        for piece in images.split(_IMAGES_AT_A_TIME)
    ]
    return torch.cat(pieces)

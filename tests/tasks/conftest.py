from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dfkd.data.image_set import ImageSet
from dfkd.tasks import TaskInput


class Lookup(nn.Module):
    """A network whose logits are known: image i has grey level i, and gets row i of a table [N, K]."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.register_buffer("logits", logits)
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        rows: Tensor = self.logits[(images[:, 0, 0, 0] * 255).round().long()]  # type: ignore[index]
        return rows


@pytest.fixture
def make_input() -> Callable[..., TaskInput]:
    """Make the input of a task from the logits that student and teacher shall give."""

    def make(student: Tensor, teacher: Tensor, labels: list[int]) -> TaskInput:
        images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1)
        return TaskInput(
            student=Lookup(student),
            teacher=Lookup(teacher),
            images=ImageSet(images, torch.tensor(labels)),
            normalise=lambda pixels: pixels,
        )

    return make

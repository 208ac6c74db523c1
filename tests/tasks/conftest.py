from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dfkd.data.image_set import ImageSet
from dfkd.tasks import TaskInput


class Lookup(nn.Module):
    """A network whose logits are known: image i has grey level i, and gets row i of a table [N, K].

    Its features are its logits. A level that no image has, as corrupted ones may, gets the last row.
    """

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.register_buffer("logits", logits)
        self.feature_width = logits.shape[1]
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return self.forward_features(images)

    def forward_features(self, images: Tensor) -> Tensor:
        levels = (images[:, 0, 0, 0] * 255).round().long().clamp(max=len(self.logits) - 1)  # type: ignore[arg-type]
        rows: Tensor = self.logits[levels]  # type: ignore[index]
        return rows

    def classify(self, features: Tensor) -> Tensor:
        return features


@pytest.fixture
def make_input() -> Callable[..., TaskInput]:
    """Make the input of a task from the logits that student and teacher shall give."""

    def make(student: Tensor, teacher: Tensor, labels: list[int] | None) -> TaskInput:
        images = torch.arange(len(student), dtype=torch.uint8).view(-1, 1, 1, 1)
        return TaskInput(
            student=Lookup(student),
            teacher=Lookup(teacher),
            images=ImageSet(images, None if labels is None else torch.tensor(labels)),
            normalise=lambda pixels: pixels,
        )

    return make

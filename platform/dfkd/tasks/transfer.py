"""What a task on other data is: from a trained network and the task's settings to numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dfkd.models.protocol import Backbone
from dfkd.tasks.features import require_backbone
from dfkd.tasks.fitting import NoProgress, Progress
from dfkd.teachers.teacher import Teacher

Exam = Literal["validation", "test"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TransferInput:
    """A trained network that is put to tasks on other data than its own, and how.

    Attributes:
        network: with what is known of its images; never changed. Its classes play no part.
        exam: which split of the task's data is scored.
        seed: of whatever the task initialises, shuffles and draws.
        device: where to compute.
        progress: hears of the epochs of a task that trains something.
    """

    network: Teacher
    exam: Exam = "test"
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    progress: Progress = field(default_factory=NoProgress)

    def backbone(self) -> nn.Module:
        """Return the network itself on the device, for features; raise ValueError if it has none."""
        require_backbone(self.network.model, "model")
        return self.network.model.to(self.device)

    def check_channels(self, images: Tensor, title: str) -> None:
        """Raise ValueError unless images [N, C, H, W] have the channels that the network takes."""
        wanted, got = self.network.image_shape[0], images.shape[1]
        if wanted != got:
            raise ValueError(
                f"dataset.channels: {self.network.provenance} takes images of {wanted} channels, those of {title} have "
                f"{got}. Set dataset.channels to {wanted}."
            )

    def generator(self) -> torch.Generator:
        """Return a new source of randomness on the device."""
        return torch.Generator(device=self.device).manual_seed(self.seed)

    def seeded(self, build: Callable[[], nn.Module]) -> nn.Module:
        """Return what ``build`` makes, on the device; its weights depend on the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return build().to(self.device)

    def normalise(self, images: Tensor) -> Tensor:
        """Map images [B, C, H, W] uint8 to what the network takes: its own normalisation, whatever the data."""
        return self.network.normalise(images.float() / 255)


#: Metrics by name, without the task's.
TransferTask = Callable[[Any, TransferInput], dict[str, float]]


def width_of(backbone: nn.Module) -> int:
    """Return D, the width of the features."""
    assert isinstance(backbone, Backbone)
    return backbone.feature_width

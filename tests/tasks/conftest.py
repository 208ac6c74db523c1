import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from dfkd.data.image_set import ImageSet
from dfkd.settings.experiment import DatasetSettings
from dfkd.tasks import TaskInput
from dfkd.tasks.transfer import TransferInput
from dfkd.teachers.backbone import load_backbone

COLOURS = ("blue", "green", "red")  # in the order of their names, which is that of the labels


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
            members=None if labels is None else ImageSet(images, torch.tensor(labels)),
        )

    return make


@pytest.fixture(scope="session")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> DatasetSettings:
    """8x8 images of three classes that any features tell apart: 12 a class to learn from, 6 to be examined on."""
    folder, random = tmp_path_factory.mktemp("coloured"), np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 6)):
        for label, name in enumerate(COLOURS):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 120, (8, 8, 3))
                pixels[:, :, 2 - label] += 100
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{number:02d}.png")
    return DatasetSettings(
        name="image_folder", path=str(folder), title="colours", validation_fraction=0.0, crop_padding=1
    )


@pytest.fixture
def given() -> Callable[..., TransferInput]:
    """Put an untrained network to a task; keywords are those of ``TransferInput``."""

    def make(architecture: str = "resnet8", *, channels: int = 3, **values: Any) -> TransferInput:
        return TransferInput(network=load_backbone(f"untrained:{architecture}", channels=channels), **values)

    return make


class Interruption:
    """Hears of epochs, and breaks off after some of them; the next training then goes on from there."""

    def __init__(self, after: int) -> None:
        self.after, self.state, self.heard = after, None, []

    def restore(self) -> Mapping[str, Any] | None:
        return self.state

    def report(self, *, done: int, epochs: int, loss: float, state: dict[str, Any]) -> None:
        self.heard.append(done)
        if done == self.after:
            self.state = copy.deepcopy(state)
            raise KeyboardInterrupt


@pytest.fixture
def interruption() -> Callable[[int], Interruption]:
    """Make a progress that breaks off once, after so many epochs."""
    return Interruption


@pytest.fixture
def unchanged() -> Callable[[nn.Module], Callable[[], bool]]:
    """Remember a network's state and mode; the answer says whether both are still the same."""

    def remember(network: nn.Module) -> Callable[[], bool]:
        state = copy.deepcopy(network.state_dict())
        modes = [module.training for module in network.modules()]
        return lambda: (
            modes == [module.training for module in network.modules()]
            and all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
        )

    return remember

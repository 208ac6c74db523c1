"""For comparisons with public code: its networks and numbers (fixtures/README.md), in double precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.teacher_student import TeacherStudent

FIXTURES = Path(__file__).parent / "fixtures"
NUM_CLASSES, IMAGE_SIZE = 4, 8


class PublicRun:
    """What a public implementation computed, and the pair and the domain that it computed it on."""

    def __init__(self, name: str) -> None:
        self.tensors = load_file(FIXTURES / f"{name}.safetensors")
        self.pair = TeacherStudent(self._network("teacher", width=5), self._network("student", width=4))
        self.domain = Domain(
            channels=3,
            height=IMAGE_SIZE,
            width=IMAGE_SIZE,
            mean=(0.4, 0.5, 0.6),
            std=(0.2, 0.25, 0.3),
            class_names=tuple(f"class {index}" for index in range(NUM_CLASSES)),
            label_embeddings=self.tensors.get("label_embeddings", torch.zeros(NUM_CLASSES, 1)),
        )  # no shift and no flip: there the two would draw different numbers

    def state(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors below a prefix."""
        start = prefix + "/"
        return {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}

    def load_generator(self, generator: nn.Module, prefix: str) -> None:
        """Load a generator; its convolutions before a BatchNorm have a bias here, which has no effect."""
        missing, unexpected = generator.load_state_dict(self.state(prefix), strict=False)
        assert set(missing) == {"blocks.0.1.bias", "blocks.1.1.bias"} and not unexpected
        for name in missing:
            nn.init.zeros_(generator.get_parameter(name))

    def _network(self, prefix: str, *, width: int) -> nn.Module:
        network = nn.Sequential(
            *(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, NUM_CLASSES)),
        )
        network.load_state_dict(self.state(prefix))
        return network


class Received:
    """Takes a bank's place and keeps what is added as it came, before a bank rounds it to 8 bits."""

    def __init__(self) -> None:
        self.images: list[Tensor] = []
        self.labels: list[Tensor] = []

    def add(self, images: Tensor, labels: Tensor, sources: Tensor) -> None:
        self.images.append(images)
        self.labels.append(labels)


@pytest.fixture
def public_run() -> Iterator[Callable[[str], PublicRun]]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield PublicRun
    torch.set_default_dtype(before)


@pytest.fixture
def received() -> Received:
    return Received()


@pytest.fixture
def assert_agrees() -> Callable[[Any, Any], None]:
    def check(found: Any, expected: Any) -> None:
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)

    return check

"""``Tracker``: what a run can be told. Who listens is not its business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

#: How a run can end. MLflow's words.
RunStatus = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """Images that a run used.

    Attributes:
        name: as tables call them.
        digest: equal for equal images; 36 characters at most.
        context: what they were used for, in a word or two.
        source: where they are from.
        num_images: how many.
        image_shape: (C, H, W).
    """

    name: str
    digest: str
    context: str
    source: str
    num_images: int
    image_shape: tuple[int, int, int]


class Tracker(Protocol):
    """One run. No method waits for a network; what is told twice is recorded once."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record settings; a value is written as ``str`` and cannot change later."""

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Record numbers of one step; NaN and infinities are numbers too."""

    def log_image(self, key: str, png: bytes, *, step: int) -> None:
        """Record one picture of a series over steps, as the bytes of a PNG file."""

    def log_artifact(self, name: str, content: bytes | Path) -> None:
        """Record a file under ``name``, which may contain '/'; the content is copied before this returns."""

    def log_dataset(self, dataset: DatasetInput) -> None:
        """Record what images the run used and what for."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or overwrite tags."""

    def set_description(self, markdown: str) -> None:
        """Set the text that stands on top of the run's page."""

    def close(self, status: RunStatus) -> None:
        """End the run."""

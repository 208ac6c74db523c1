"""``Tracker``: what a run can be told. Who listens is not its business."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

#: How a run can end. MLflow's words.
RunStatus = Literal["FINISHED", "FAILED", "KILLED"]


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

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or overwrite tags."""

    def set_description(self, markdown: str) -> None:
        """Set the text that stands on top of the run's page."""

    def close(self, status: RunStatus) -> None:
        """End the run."""

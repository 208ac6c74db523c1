"""The points of a run over its epochs, kept in a file: a run that goes on after an interruption has them all."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Curve:
    """What every epoch gave, and after how many seconds of distillation, those before an interruption included.

    Args:
        file: where it is kept; read if it is there.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.points: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
        self._seconds_before: float = self.points[-1]["seconds"] if self.points else 0.0
        self._began: float | None = None

    def start(self) -> None:
        """Begin to count the seconds, or go on."""
        self._began = time.monotonic()

    @property
    def num_epochs(self) -> int:
        """Epochs that have ended."""
        return self.points[-1]["epoch"] + 1 if self.points else 0

    @property
    def seconds(self) -> float:
        """Seconds of distillation until the end of the last epoch."""
        seconds: float = self.points[-1]["seconds"] if self.points else 0.0
        return seconds

    def add(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add an epoch; one that is repeated after an interruption takes the place of the first.

        An epoch that is only told once more, as by a run that goes on or is over, changes nothing.
        """
        if any(_same(point, {"epoch": epoch, **metrics}) for point in self.points):
            return
        assert self._began is not None, "start comes first"
        earlier = [point for point in self.points if point["epoch"] < epoch]
        seconds = self._seconds_before + time.monotonic() - self._began
        self.points = [*earlier, {"epoch": epoch, "seconds": seconds, **metrics}]
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(self.points))
        os.replace(partial, self._file)


def _same(point: Mapping[str, Any], told: Mapping[str, Any]) -> bool:
    known = {name: value for name, value in point.items() if name != "seconds"}
    return json.dumps(known, sort_keys=True) == json.dumps(told, sort_keys=True)  # NaN is NaN here

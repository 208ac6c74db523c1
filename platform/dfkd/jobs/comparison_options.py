"""What the command line of ``experiments/compare.py`` can say beside the comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonOptions:
    """Options of one comparison.

    Attributes:
        results: folder of its results.
        home: folder of everything else that is kept; None is ``~/.dfkd``.
        tracking_uri: of MLflow; None takes ``MLFLOW_TRACKING_URI``, else a store in the home folder.
        storage: folder or URI for checkpoints, shared by all nodes; None is in the home folder.
        at_once: runs at a time; None takes as many as fit.
        only: the rows to run now; none stands for all.
        columns: the columns to run now; none stands for both.
        retry_failed: run again what failed before.
    """

    results: Path
    home: str | None = None
    tracking_uri: str | None = None
    storage: str | None = None
    at_once: int | None = None
    only: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    retry_failed: bool = False

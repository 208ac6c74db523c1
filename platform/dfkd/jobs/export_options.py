"""What the command line of ``experiments/export.py`` can say. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """Options of one export.

    Attributes:
        model: ``models:/name@alias``, ``models:/name/3``, or a ``.safetensors`` file that describes itself.
        output: folder for the files; made if need be, its files of the same names are replaced.
        int8: whether to quantise too.
        split: of the config's data set, where a config is given.
        home: folder of everything that is kept; None is ``~/.dfkd``.
        tracking_uri: of MLflow; None takes ``MLFLOW_TRACKING_URI``, else a store in the home folder.
    """

    model: str
    output: str
    int8: bool = True
    split: Literal["train", "validation", "test"] = "test"
    home: str | None = None
    tracking_uri: str | None = None

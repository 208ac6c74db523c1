"""What the command line of ``experiments/evaluate.py`` can say beside the config. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.search import TrackingSettings

REGISTRY = "models:/"


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateOptions:
    """Options of one evaluation.

    Attributes:
        model: registry address, path or name (``torchvision:``, ``timm:``, ``untrained:``) of what is scored.
        split: of the data set.
        teacher: what to hold it against, named as the model is; None as the config says.
        tasks: None of them for the config's, or for all of a file of tasks on other data.
        json_file: where to write the scores for other programs.
        tracking: of the config.
        home: folder of everything that is kept; None is ``~/.dfkd``.
        tracking_uri: of MLflow; None takes ``MLFLOW_TRACKING_URI``, else a store in the home folder.
    """

    model: str
    split: Literal["train", "validation", "test"] = "test"
    teacher: str | None = None
    tasks: tuple[str, ...] = ()
    json_file: str | None = None
    home: str | None = None
    tracking_uri: str | None = None
    tracking: TrackingSettings = field(default_factory=TrackingSettings)


def needs_registry(settings: ExperimentSettings, options: EvaluateOptions) -> bool:
    """Whether MLflow has to be asked: for the model, or for the teacher that was trained with these settings."""
    sources = (options.model, options.teacher or settings.teacher.weights)
    return any(source is None or source.startswith(REGISTRY) for source in sources)

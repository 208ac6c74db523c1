"""What the command line of ``experiments/search.py`` can say beside the search space."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchOptions:
    """Options of one search.

    Attributes:
        home: folder of everything that is kept; None is ``~/.dfkd``.
        tracking_uri: of MLflow; None takes ``MLFLOW_TRACKING_URI``, else a store in the home folder.
        storage: folder or URI for checkpoints, shared by all nodes; None is in the home folder.
        resume: go on with the newest search of this space.
        retrain_teacher: train the teacher anew.
        json_file: where to write the outcome for other programs.
    """

    home: str | None = None
    tracking_uri: str | None = None
    storage: str | None = None
    resume: bool = False
    retrain_teacher: bool = False
    json_file: str | None = None

    def __post_init__(self) -> None:
        if self.resume and self.retrain_teacher:
            raise ValueError(
                "--retrain-teacher: the trials of a search share one teacher, so one that goes on (--resume) cannot "
                "get another. Leave one of both out."
            )

"""What the command line of ``experiments/distill.py`` can say beside the config. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field

from dfkd.settings.checks import check_name
from dfkd.settings.search import TrackingSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillOptions:
    """Options of ``experiments/distill.py``: see its ``--help``. ``tracking`` is of its config."""

    home: str | None = None
    tracking_uri: str | None = None
    storage: str | None = None
    name: str | None = None
    json_file: str | None = None
    tracking: TrackingSettings = field(default_factory=TrackingSettings)
    compress_teacher: bool = False

    def __post_init__(self) -> None:
        if self.name is not None:
            check_name("--name", self.name)

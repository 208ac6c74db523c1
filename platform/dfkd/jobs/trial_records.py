"""What a search remembers of every trial, one JSON file each: what a resumed search finds, and what tables show."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(kw_only=True, slots=True)
class TrialRecord:
    """One trial.

    Attributes:
        key: of its resolved settings.
        number: in the order of starting, from 0.
        params: searched settings by dotted path.
        workers: data-parallel workers.
        seed: of everything random in it.
        is_default: whether it runs the fixed part as it stands, workers and seed aside.
        status: ``running``, ``complete``, ``stopped`` (early), ``failed`` (it would fail again) or ``lost`` (its
            processes died, or its storage failed: a search that goes on runs it again).
        error: of a failed or lost trial, one line.
        metrics: of the last report.
        metrics_at_check: of the report after as many epochs as the run with other workers had; None without one.
        seconds: from start to end, or to the last report; what another driver ran of it included.
        device: what rank 0 trained on.
        startup_seconds: from its start to its first report, less the first epoch itself; None before that.
        first_report_seconds: from the beginning of the command that started it to its first report.
    """

    key: str
    number: int
    params: dict[str, Any]
    workers: int
    seed: int
    is_default: bool
    status: str = "running"
    error: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    metrics_at_check: dict[str, Any] | None = None
    seconds: float = 0.0
    device: str | None = None
    startup_seconds: float | None = None
    first_report_seconds: float | None = None


class TrialRecords:
    """The records of one search, under ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._records = {record.key: record for record in map(_read, sorted(folder.glob("*.json")))}

    def __len__(self) -> int:
        return len(self._records)

    def get(self, key: str) -> TrialRecord | None:
        """Return the record of a trial, if there is one."""
        return self._records.get(key)

    def all(self) -> list[TrialRecord]:
        """Return every record, in the order of starting."""
        return sorted(self._records.values(), key=lambda record: record.number)

    def settle(self, settled: Sequence[Mapping[str, Any]], *, stopped: Sequence[Mapping[str, Any]] = ()) -> None:
        """Give running records an end whose points ended: their driver died before it could write so here.

        Such a point is never proposed again, so that nobody else would.

        Args:
            settled: parameters of the study's ended trials.
            stopped: of those among them that early stopping ended.
        """
        for record in self.all():
            if record.status == "running" and record.params in settled:
                record.status = "complete" if record.metrics.get("finished") else "failed"
                if record.status == "failed" and record.params in stopped:
                    record.status = "stopped"
                lost = "it ended as its search did; the reason is lost"
                record.error = lost if record.status == "failed" else None
                self.save(record)

    def save(self, record: TrialRecord) -> None:
        """Keep a record, on disk too; the file is whole at any moment."""
        self._records[record.key] = record
        file = self._folder / f"{record.key}.json"
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(record), indent=1))
        os.replace(partial, file)


def _read(file: Path) -> TrialRecord:
    return TrialRecord(**json.loads(file.read_text()))

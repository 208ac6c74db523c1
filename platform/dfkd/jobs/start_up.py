"""How long a search waited before its trials learnt anything: what in-process trials gain over Ray Train's start-up."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from dfkd.jobs.trial_records import TrialRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class StartUp:
    """Seconds of waiting. A trial's are from its start to its first report, less its first epoch itself.

    Attributes:
        first_report: from the beginning of the command to the first report of a trial; None before that.
        in_process: of each trial with one worker, in the trial's own process; the first of them starts that process.
        on_ray_train: of each trial with several workers.
    """

    first_report: float | None
    in_process: tuple[float, ...]
    on_ray_train: tuple[float, ...]

    def sentence(self) -> str:
        """Return it in words; empty where nothing is known."""
        parts = [] if self.first_report is None else [f"first report after {self.first_report:.0f} s"]
        if self.in_process:
            first, median = self.in_process[0], statistics.median(self.in_process)
            parts.append(f"a trial is ready after {median:.1f} s (median; the first after {first:.1f} s)")
        if self.on_ray_train:
            parts.append(f"on Ray Train after {statistics.median(self.on_ray_train):.1f} s")
        return "; ".join(parts)


def start_up(records: Sequence[TrialRecord]) -> StartUp:
    """Return what trials, in the order of starting, waited for."""
    known = [record for record in records if record.startup_seconds is not None]
    reports = [record.first_report_seconds for record in known if record.first_report_seconds is not None]
    return StartUp(
        first_report=min(reports, default=None),
        in_process=tuple(record.startup_seconds or 0.0 for record in known if record.workers == 1),
        on_ray_train=tuple(record.startup_seconds or 0.0 for record in known if record.workers > 1),
    )

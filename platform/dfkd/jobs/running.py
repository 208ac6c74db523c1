"""``Running``: what the phases of one search share, from its first trial to the registered student."""

from __future__ import annotations

from dataclasses import dataclass

from dfkd.assembly import Materials
from dfkd.cluster.trial import TrialPlan
from dfkd.cluster.tuner import Objective
from dfkd.data.real_data import RealData
from dfkd.jobs.console import Console
from dfkd.jobs.search_folder import SearchFolder
from dfkd.jobs.trial_records import TrialRecord, TrialRecords
from dfkd.search.space import SearchSpace
from dfkd.tracking.mlflow_tracker import MlflowTracking


@dataclass(frozen=True, kw_only=True)
class Running:
    """A search between its checks and its end.

    Attributes:
        space: what is searched.
        folder: where it keeps its study, records and, without ``--storage``, checkpoints.
        storage: absolute folder or URI of its checkpoints.
        tracking_uri: of MLflow.
        objective: what its trials are compared by.
        materials: teacher, probe set and validation images.
        data: all real images, the test split among them.
        records: of its trials.
        tracking: of its runs.
        console: what a person reads.
    """

    space: SearchSpace
    folder: SearchFolder
    storage: str
    tracking_uri: str
    objective: Objective
    materials: Materials
    data: RealData
    records: TrialRecords
    tracking: MlflowTracking
    console: Console

    def plan(
        self, *, workers: int | None = None, seed: int | None = None, student_epochs: int | None = None
    ) -> TrialPlan:
        """Return what the trials of a phase share; workers, seed and epochs are those of the search unless given."""
        default = self.space.resolve({})
        return TrialPlan(
            space=self.space,
            storage=self.storage,
            workers=workers or default.workers,
            image_every=self.space.settings.tracking.previews_every(default.total_epochs),
            seed=seed,
            student_epochs=student_epochs,
        )

    def searched(self) -> list[TrialRecord]:
        """Return the trials that can be chosen: those with the search's own workers and seed."""
        settings = self.space.resolve({})
        group = settings.workers, settings.seed
        return [record for record in self.records.all() if (record.workers, record.seed) == group]

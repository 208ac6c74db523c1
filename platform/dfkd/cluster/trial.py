"""One trial: the function that Ray Tune runs, in the trial's own process or over Ray Train workers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray import tune

from dfkd.assembly import Materials, choose_device
from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.local_session import LocalSession
from dfkd.cluster.worker import run_worker
from dfkd.search.space import SearchSpace
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import settings_key


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """What all trials of a phase have in common.

    Attributes:
        space: turns a trial's parameters into settings.
        storage: absolute folder or URI under which every trial keeps its checkpoints.
        workers: data-parallel workers of each trial; one runs in the trial's own process.
        image_every: epochs between previews of synthetic images; 0 sends none.
    """

    space: SearchSpace
    storage: str
    workers: int
    image_every: int

    def resolve(self, params: Mapping[str, Any]) -> ExperimentSettings:
        """Return the complete settings of a trial."""
        return dataclasses.replace(self.space.resolve(params), workers=self.workers)

    def trial_uri(self, settings: ExperimentSettings) -> str:
        """Return where the trial of these settings keeps its checkpoints: equal settings, equal place."""
        return f"{self.storage.rstrip('/')}/trials/{settings_key(settings)}"


def run_trial(params: dict[str, Any], *, plan: TrialPlan, materials: Materials) -> None:
    """Run one trial and report its epochs to Ray Tune.

    Ray Tune runs a failed trial again, since a node may have been lost: an error of the run itself is noted beside its
    checkpoints and raised again at once.
    """
    settings = plan.resolve(params)
    uri = plan.trial_uri(settings)
    store = CheckpointStore(uri)
    if failure := store.failure():
        raise TrialError(failure)
    try:
        if settings.workers == 1:
            session = LocalSession(choose_device(settings), tune.report, store)
            run_worker(settings, materials, session, image_every=plan.image_every)
        else:
            _run_on_ray_train(settings, materials, uri, image_every=plan.image_every)
    except (FloatingPointError, ValueError) as error:
        store.note_failure(str(error))
        raise TrialError(str(error)) from error


class TrialError(Exception):
    """Why a trial cannot end well, whoever runs it."""


def _run_on_ray_train(settings: ExperimentSettings, materials: Materials, uri: str, *, image_every: int) -> None:
    from ray.tune.integration.ray_train import TuneReportCallback

    from dfkd.cluster.data_parallel import run_data_parallel

    run_data_parallel(settings, materials, uri, image_every=image_every, callbacks=[TuneReportCallback()])


def last_state(uri: str, *, world_size: int) -> dict[str, Any]:
    """Return the newest checkpoint of a trial as rank 0 wrote it.

    Raises:
        FileNotFoundError: if the trial has none.
    """
    state = CheckpointStore(uri).newest(rank=0, world_size=world_size)
    if state is None:
        raise FileNotFoundError(f"{uri}: no sound checkpoint of this trial. Was its folder removed?")
    return state

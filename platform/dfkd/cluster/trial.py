"""One trial: the function that Ray Tune runs, in the trial's own process or over Ray Train workers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ray import tune

from dfkd.assembly import Materials, choose_device
from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.local_session import LocalSession
from dfkd.cluster.worker import RUN_ERRORS, run_worker
from dfkd.search.space import SearchSpace
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import settings_key
from dfkd.tasks.further_objectives import further_scores

TRIALS = "trials"  # in a search's storage: the checkpoints of each
FAILURE_KEY = "failure"  # why a trial cannot end well, whoever runs it


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """What all trials of a phase have in common.

    Attributes:
        space: turns a trial's parameters into settings.
        storage: absolute folder or URI under which every trial keeps its checkpoints.
        workers: data-parallel workers of each trial; one runs in the trial's own process.
        image_every: epochs between previews of synthetic images; 0 sends none.
        seed: of each trial, in place of the space's.
        student_epochs: in which the student of each trial learns, warm-up apart, under the schedule of all of them; a
            trial ends after these. None: all.
    """

    space: SearchSpace
    storage: str
    workers: int
    image_every: int
    seed: int | None = None
    student_epochs: int | None = None

    def resolve(self, params: Mapping[str, Any]) -> ExperimentSettings:
        """Return the complete settings of a trial."""
        settings = self.space.resolve(params)
        seed = settings.seed if self.seed is None else self.seed
        return dataclasses.replace(settings, workers=self.workers, seed=seed)

    def epochs(self, settings: ExperimentSettings) -> int:
        """Return after how many epochs, warm-up included, a trial of these settings ends."""
        wanted = math.inf if self.student_epochs is None else settings.warm_up_epochs + self.student_epochs
        return int(min(wanted, settings.total_epochs))

    def key(self, params: Mapping[str, Any]) -> str:
        """Return what is equal for trials that would come out the same."""
        return settings_key(self.resolve(params))

    def trial_uri(self, settings: ExperimentSettings) -> str:
        """Return where the trial of these settings keeps its checkpoints: equal settings, equal place."""
        return self.folder_of(settings_key(settings))

    def folder_of(self, key: str) -> str:
        """Return where the trial of a key keeps its checkpoints."""
        return f"{self.storage.rstrip('/')}/{TRIALS}/{key}"


def run_trial(params: dict[str, Any], *, plan: TrialPlan, materials: Materials, objective: str) -> None:
    """Run one trial and report its epochs to Ray Tune.

    Ray Tune runs a trial again that raises an error, since a process or a node may have been lost. An error of the run
    itself would only come again: it is the trial's last report, with no value of the objective.
    """
    settings = plan.resolve(params)
    try:
        if settings.workers == 1:
            device, objectives = choose_device(settings), plan.space.settings.further_objectives
            session = LocalSession(device, tune.report, CheckpointStore(plan.trial_uri(settings)))
            read_off = partial(
                further_scores, objectives, teacher=materials.teacher, device=device, images=materials.validation
            )
            run_worker(
                settings,
                materials,
                session,
                epochs=plan.epochs(settings),
                image_every=plan.image_every,
                at_end=read_off,
            )
        else:
            _run_on_ray_train(settings, materials, plan)
    except RUN_ERRORS as error:
        tune.report({FAILURE_KEY: " ".join(str(error).split()), objective: math.nan})


def _run_on_ray_train(settings: ExperimentSettings, materials: Materials, plan: TrialPlan) -> None:
    from ray.tune.integration.ray_train import TuneReportCallback

    from dfkd.cluster.data_parallel import run_data_parallel

    run_data_parallel(
        settings,
        materials,
        plan.trial_uri(settings),
        epochs=plan.epochs(settings),
        image_every=plan.image_every,
        callbacks=[TuneReportCallback()],
    )


def last_state(uri: str, *, world_size: int) -> dict[str, Any]:
    """Return the newest checkpoint of a trial as rank 0 wrote it.

    Raises:
        FileNotFoundError: if the trial has none.
    """
    state = CheckpointStore(uri).newest(rank=0, world_size=world_size)
    if state is None:
        raise FileNotFoundError(f"{uri}: no sound checkpoint of this trial. Was its folder removed?")
    return state

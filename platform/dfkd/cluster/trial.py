"""One trial: the function that Ray Tune runs, in the trial's own process or over Ray Train workers."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ray import train, tune
from ray.util.queue import Empty, Queue

from dfkd.assembly import Materials, choose_device
from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.local_session import LocalSession
from dfkd.cluster.worker import Report, run_worker
from dfkd.search.space import SearchSpace
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import settings_key

POLL_SECONDS = "0.2"  # Ray Train takes one report a poll; its default of 2 s would stall short epochs


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
    """Run one trial and report its epochs to Ray Tune."""
    settings = plan.resolve(params)
    uri = plan.trial_uri(settings)
    if settings.workers == 1:
        session = LocalSession(choose_device(settings), tune.report, CheckpointStore(uri))
        run_worker(settings, materials, session, image_every=plan.image_every)
    else:
        from ray.tune.integration.ray_train import TuneReportCallback

        run_data_parallel(settings, materials, uri, image_every=plan.image_every, callbacks=[TuneReportCallback()])


def run_data_parallel(
    settings: ExperimentSettings,
    materials: Materials,
    uri: str,
    *,
    image_every: int,
    callbacks: list[train.UserCallback],
) -> None:
    """Run one experiment over ``settings.workers`` Ray Train workers: gloo on CPUs, NCCL on GPUs."""
    from ray.train.torch import TorchTrainer

    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", POLL_SECONDS)
    uses_cuda = choose_device(settings).type == "cuda"
    TorchTrainer(
        _train_loop,
        train_loop_config={"settings": settings, "materials": materials, "uri": uri, "image_every": image_every},
        scaling_config=train.ScalingConfig(
            num_workers=settings.workers,
            use_gpu=uses_cuda,
            resources_per_worker={"GPU": 1} if uses_cuda else {"CPU": 1},
        ),
        run_config=train.RunConfig(
            name=settings_key(settings),  # equal settings find their own state again, and nobody else's
            storage_path=f"{uri}/ray_train",
            callbacks=callbacks,
            failure_config=train.FailureConfig(max_failures=2),
            logging_config=train.LoggingConfig(log_level="WARNING"),
        ),
    ).fit()


def run_data_parallel_here(
    settings: ExperimentSettings,
    materials: Materials,
    uri: str,
    *,
    image_every: int,
    on_report: Callable[[Report], None],
) -> None:
    """As ``run_data_parallel``, without Ray Tune around it: reports come to a function of this process."""
    queue = Queue()
    ended = threading.Event()

    def listen() -> None:
        while not (ended.is_set() and queue.empty()):
            try:
                on_report(queue.get(timeout=0.5))
            except Empty:
                continue

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        run_data_parallel(settings, materials, uri, image_every=image_every, callbacks=[_QueueReports(queue)])
    finally:
        ended.set()
        listener.join()
        queue.shutdown()


class _QueueReports(train.UserCallback):  # type: ignore[misc]
    """Passes rank 0's reports on from Ray Train's controller, which runs in a process of its own."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def after_report(self, run_context: Any, metrics: list[Report], checkpoint: Any) -> None:
        """Called with the reports of all workers."""
        self._queue.put(metrics[0])


def _train_loop(config: dict[str, Any]) -> None:
    """What every Ray Train worker runs."""
    from dfkd.cluster.train_session import TrainSession

    session = TrainSession(CheckpointStore(config["uri"]))
    run_worker(config["settings"], config["materials"], session, image_every=config["image_every"])


def last_state(uri: str, *, world_size: int) -> dict[str, Any]:
    """Return the newest checkpoint of a trial as rank 0 wrote it.

    Raises:
        FileNotFoundError: if the trial has none.
    """
    state = CheckpointStore(uri).newest(rank=0, world_size=world_size)
    if state is None:
        raise FileNotFoundError(f"{uri}: no sound checkpoint of this trial. Was its folder removed?")
    return state


def last_report(uri: str, *, world_size: int) -> Report:
    """Return the report that the newest checkpoint of a trial carries."""
    report: Report = last_state(uri, world_size=world_size)["report"]
    return report

"""Several data-parallel workers on Ray Train: how they are started, what each runs, and who hears of their epochs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import torch
from ray import train
from ray.util.queue import Empty, Queue

from dfkd.assembly import Materials
from dfkd.cluster.checkpoints import RAY_TRAIN
from dfkd.cluster.resources import autoscales, uses_gpu
from dfkd.cluster.worker import RESTARTS, RUN_ERRORS, Report
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import settings_key

BOOT_SECONDS = 600  # for a node with a GPU and its set-up commands


def run_data_parallel(
    settings: ExperimentSettings,
    materials: Materials,
    uri: str,
    *,
    epochs: int | None = None,
    image_every: int,
    callbacks: list[train.UserCallback],
    restarts: int = 0,
) -> None:
    """Run one experiment over ``settings.workers`` Ray Train workers: gloo on CPUs, NCCL on GPUs.

    Args:
        settings: the experiment.
        materials: teacher, probe set and validation images.
        uri: where checkpoints go.
        epochs: after how many, warm-up included, to end; None: after all.
        image_every: epochs between previews of synthetic images; 0 sends none.
        callbacks: hear of reports, in Ray Train's controller.
        restarts: how often all workers may start again from the newest checkpoint after one died.

    Raises:
        FloatingPointError: a loss is not finite.
        ValueError: the settings cannot be run.
        ray.train.TrainingFailedError: workers died once more than may be.
    """
    from ray.train.torch import TorchTrainer

    from dfkd.cluster.interface import OverNodeAddress

    allow_for_booting()
    gpu = uses_gpu(settings)
    for restarts_left in reversed(range(1 + restarts)):
        trainer = TorchTrainer(
            _train_loop,
            train_loop_config={
                "settings": settings,
                "materials": materials,
                "uri": uri,
                "epochs": epochs,
                "image_every": image_every,
            },
            torch_config=OverNodeAddress(),
            scaling_config=train.ScalingConfig(
                num_workers=settings.workers, use_gpu=gpu, resources_per_worker={"GPU": 1} if gpu else {"CPU": 1}
            ),
            run_config=train.RunConfig(
                name=settings_key(settings),  # equal settings find their own state again, and nobody else's
                storage_path=f"{uri}/{RAY_TRAIN}",
                callbacks=callbacks,
                logging_config=train.LoggingConfig(log_level="WARNING"),
            ),
        )
        try:
            trainer.fit()
            return
        except train.WorkerGroupError as error:
            _raise_run_error(error)
            if not restarts_left:
                raise


def allow_for_booting() -> None:
    """Have Ray Train wait for nodes that an autoscaler starts first; it would give up after 60 s (2.60), and ask anew.

    It reads the environment of the process that starts the workers. What the user set stays.
    """
    if autoscales():
        os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(BOOT_SECONDS))


def _raise_run_error(error: train.WorkerGroupError) -> None:
    """Raise the error of the run itself if a worker ended with one."""
    for failure in error.worker_failures.values():
        cause = getattr(failure, "_base_exc", failure)
        if isinstance(cause, RUN_ERRORS):
            raise cause


def run_data_parallel_here(
    settings: ExperimentSettings,
    materials: Materials,
    uri: str,
    *,
    image_every: int,
    on_report: Callable[[Report], None],
) -> None:
    """As ``run_data_parallel``, without Ray Tune around it: reports come to a function of this process.

    Ray Train waits in a thread of its own: in the main thread it would take an interrupt for a good end.
    """
    queue = Queue()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            reports = _QueueReports(queue)
            run_data_parallel(settings, materials, uri, image_every=image_every, callbacks=[reports], restarts=RESTARTS)
        except BaseException as error:
            errors.append(error)

    trainer = threading.Thread(target=run, daemon=True, name="ray-train")
    trainer.start()
    while trainer.is_alive() or not queue.empty():
        try:
            on_report(queue.get(timeout=0.5))
        except Empty:
            continue
    queue.shutdown()
    if errors:
        raise errors[0]


class _QueueReports(train.UserCallback):  # type: ignore[misc]
    """Passes rank 0's reports on from Ray Train's controller, which runs in a process of its own."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def after_report(self, run_context: Any, metrics: list[Report], checkpoint: Any) -> None:
        """Called with the reports of all workers."""
        self._queue.put(metrics[0])


def _train_loop(config: dict[str, Any]) -> None:
    """What every Ray Train worker runs."""
    import ray.train.torch

    from dfkd.cluster.checkpoints import CheckpointStore
    from dfkd.cluster.parallel_session import ParallelSession
    from dfkd.cluster.worker import run_worker

    device: torch.device = ray.train.torch.get_device()
    session = ParallelSession(
        device,
        ray.train.report,
        CheckpointStore(config["uri"]),
        is_leaving=lambda: ray.train.get_preemption_info() is not None,  # Ray Train (2.60) looks every 5 s
    )
    run_worker(
        config["settings"],
        config["materials"],
        session,
        epochs=config["epochs"],
        image_every=config["image_every"],
    )

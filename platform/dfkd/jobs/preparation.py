"""What a search can be refused for before its first trial: the cluster, the storage of checkpoints, the objective."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.resources import autoscales, check_fits, num_nodes
from dfkd.data.real_data import RealData
from dfkd.jobs.command import check_writable
from dfkd.jobs.console import Console
from dfkd.search.space import CHECK_WORKERS, SearchSpace, objective_problems
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.search import ObjectiveSettings
from dfkd.tracking.credentials import without_credentials
from dfkd.tracking.home import refuse_local_store_on_cluster

#: Objective of a search -> key of a trial's reports.
REPORT_KEYS = {
    "agreement": "probe/agreement",
    "kl": "probe/kl",
    "agreement_real": "val/agreement/top1",
    "val_accuracy": "val/accuracy/top1",
    "val_balanced_accuracy": "val/binary/balanced_accuracy",
}


def check_cluster(space: SearchSpace, *, tracking_uri: str, storage: str | None) -> None:
    """Raise ValueError if the connected cluster cannot run this search.

    Args:
        space: the search.
        tracking_uri: where MLflow is.
        storage: what the user gave for checkpoints; None keeps them on this machine.
    """
    settings = space.resolve({})
    check_fits(settings, settings.workers)
    check_places(tracking_uri=tracking_uri, storage=storage)


def check_places(*, tracking_uri: str, storage: str | None) -> None:
    """Raise ValueError if the connected cluster's nodes could not all reach MLflow's store and the checkpoints."""
    nodes, may_grow = num_nodes(), autoscales()
    refuse_local_store_on_cluster(tracking_uri, num_nodes=nodes, may_grow=may_grow)
    if storage is None and (nodes > 1 or may_grow):
        raise ValueError(
            "--storage: the cluster has several nodes or may get them, and checkpoints in the home folder would lie on "
            "each node's own disk. Give a folder that all nodes share, or an address such as s3://bucket/prefix."
        )


def with_checks_that_fit(space: SearchSpace, console: Console) -> SearchSpace:
    """Return the search without its run of two workers where the cluster can never give them, and say so."""
    if not space.checks_workers:
        return space
    try:
        check_fits(space.resolve({}), CHECK_WORKERS)
    except ValueError as error:
        console.say(f"no run with {CHECK_WORKERS} workers on Ray Train to compare one worker with: {error}")
        return replace(space, settings=replace(space.settings, workers_check=False))
    return space


def resolve_storage(storage: str, *, name: str) -> str:
    """Return an absolute folder or URI for a search's checkpoints, known to be writable.

    Raises:
        OSError: it cannot be written.
        ValueError: it is no folder and no URI.
    """
    uri = storage_uri(storage, name=name)
    with _told_of_storage(storage):
        CheckpointStore(uri).check_writable()
    return uri


def storage_uri(storage: str, *, name: str) -> str:
    """Return the absolute folder or URI for the checkpoints of a run of this name, whether it can be written or not."""
    uri = storage if "://" in storage else str(Path(storage).expanduser().absolute())
    return f"{uri.rstrip('/')}/{name}"


def try_storage(storage: str) -> None:
    """Raise as ``resolve_storage`` would; leave nothing in a folder, and behind an address at most an empty prefix."""
    with _told_of_storage(storage):
        if "://" not in storage:
            check_writable(Path(storage).expanduser().absolute())
        else:
            CheckpointStore(storage.rstrip("/")).check_writable()


@contextmanager
def _told_of_storage(storage: str) -> Iterator[None]:
    if (shown := without_credentials(storage)) != storage:
        raise ValueError(
            f"--storage: leave keys and passwords out of '{shown}': the address is remembered, and Ray shows it. The "
            "environment is their place, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    try:
        yield
    except OSError as error:
        raise OSError(f"--storage: expected a folder or URI that can be written, got '{storage}' ({error}).") from error


def check_objective(objective: ObjectiveSettings, settings: ExperimentSettings, data: RealData) -> None:
    """Raise ValueError if the objective needs images that the dataset does not have."""
    metric, needs = objective.metric, objective.needs
    if needs != "no real image" and data.validation is None:
        raise ValueError(
            f"objective.metric: '{metric}' needs {needs}, and the dataset has no validation split"
            f"{'' if data.train is None else ' (dataset.validation_fraction takes one from the training images)'}. "
            "Give one, or use 'agreement' or 'kl', which need none."
        )
    if needs == "labelled real images" and data.validation and data.validation.labels is None:
        raise ValueError(
            f"objective.metric: '{metric}' needs labels, and the validation images have none. Use 'agreement_real'."
        )
    if problems := objective_problems(objective, settings):
        raise ValueError(problems[0])

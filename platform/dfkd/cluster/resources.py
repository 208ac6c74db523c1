"""What the cluster can give, held against what a search wants: refuse at once rather than wait for ever."""

from __future__ import annotations

import ray

from dfkd.assembly import choose_device
from dfkd.settings.experiment import ExperimentSettings


def check_fits(settings: ExperimentSettings, workers: int) -> None:
    """Raise ValueError if the cluster can never give ``workers`` workers.

    An autoscaling cluster may grow; there Ray's own request limit decides, so only fixed clusters are refused here.
    """
    kind = "GPU" if choose_device(settings).type == "cuda" else "CPU"
    available = ray.cluster_resources().get(kind, 0)
    if workers > available and not autoscales():
        raise ValueError(
            f"workers: {workers} workers need {workers} {kind}s, and the cluster has {available:g} and cannot grow. "
            "Lower `workers` (or `--workers`), or add nodes."
        )


def concurrent_trials(settings: ExperimentSettings, workers: int, *, wanted: int | None) -> int:
    """Return how many trials may run at once so that each gets all of its workers: at least 1."""
    kind = "GPU" if choose_device(settings).type == "cuda" else "CPU"
    fits = max(1, int(ray.cluster_resources().get(kind, 1) // workers))
    return min(fits, wanted) if wanted else fits


def autoscales() -> bool:
    """Whether the cluster has an autoscaler that may add nodes."""
    from ray._private.worker import global_worker

    gcs = global_worker.gcs_client
    return bool(gcs.internal_kv_exists(b"__autoscaler_v2_enabled", namespace=None)) if gcs is not None else False


def num_nodes() -> int:
    """Return the number of nodes that are alive."""
    return sum(1 for node in ray.nodes() if node["Alive"])


def trial_resources(settings: ExperimentSettings, workers: int) -> dict[str, float]:
    """Return what Ray Tune reserves for a trial's own process.

    With several workers the process only drives Ray Train, which reserves the workers itself; it is kept on the head,
    where it costs no CPU. One worker runs in the process and reserves its device.
    """
    if workers > 1:
        return {"node:__internal_head__": 0.001}
    return {"CPU": 1, "GPU": 1} if choose_device(settings).type == "cuda" else {"CPU": 1}

"""What the cluster can give, held against what a search wants: refuse at once rather than wait for ever."""

from __future__ import annotations

import ray

from dfkd.settings.experiment import ExperimentSettings

#: A label that nodes carry which an autoscaler started (`ray up`, KubeRay), and those of `ray start` do not (Ray 2.60).
NODE_GROUP_LABEL = "ray.io/node-group"


def uses_gpu(settings: ExperimentSettings) -> bool:
    """Whether each worker gets a GPU: asked for, or ``auto`` and the cluster has one, be it on another node."""
    return settings.device == "cuda" or (settings.device == "auto" and bool(ray.cluster_resources().get("GPU")))


def check_fits(settings: ExperimentSettings, workers: int) -> None:
    """Raise ValueError if the cluster can never give ``workers`` workers.

    An autoscaling cluster may grow; there Ray's own request limit decides, so only fixed clusters are refused here.
    """
    kind = "GPU" if uses_gpu(settings) else "CPU"
    available = ray.cluster_resources().get(kind, 0)
    if workers > available and not autoscales():
        each = "a GPU, which `device: cuda` asks for" if settings.device == "cuda" else f"a {kind}"
        raise ValueError(
            f"workers: {workers} needed, each with {each}; the cluster has {available:g} and cannot grow. "
            "Lower `workers`, or add nodes."
        )


def concurrent_trials(settings: ExperimentSettings, workers: int, *, wanted: int | None) -> int:
    """Return how many trials may run at once so that each gets all of its workers: at least 1."""
    kind = "GPU" if uses_gpu(settings) else "CPU"
    fits = max(1, int(ray.cluster_resources().get(kind, 1) // workers))
    return min(fits, wanted) if wanted else fits


def autoscales() -> bool:
    """Whether the cluster has an autoscaler that may add nodes."""
    return any(NODE_GROUP_LABEL in node["Labels"] for node in ray.nodes())


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
    return {"CPU": 1, "GPU": 1} if uses_gpu(settings) else {"CPU": 1}

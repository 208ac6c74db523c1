"""What the cluster can give, held against what a search wants: refuse at once rather than wait for ever."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray._private.state import state

from dfkd.config import read_yaml
from dfkd.settings.experiment import ExperimentSettings

#: A label that nodes carry which an autoscaler started (`ray up`, KubeRay), and those of `ray start` do not (Ray 2.60).
NODE_GROUP_LABEL = "ray.io/node-group"
#: Where `ray up` leaves the cluster's configuration on the head, and where Ray Tune (2.60) looks for it too.
BOOTSTRAP_CONFIG = "~/ray_bootstrap_config.yaml"


def limits() -> dict[str, float]:
    """Return the most CPUs and GPUs that the cluster can ever give: now, or once its autoscaler has added nodes."""
    now, grown = ray.cluster_resources(), known_growth() or {}
    return {kind: float(max(now.get(kind, 0), grown.get(kind, 0))) for kind in ("CPU", "GPU")}


def known_growth() -> Mapping[str, float] | None:
    """Return what the cluster has once its autoscaler has added every node, or None where nothing tells.

    An autoscaler may report it to Ray, which is where Ray Train looks; that of `ray up` does not (2.60), but its
    configuration lies on the head, where a submitted search runs.
    """
    reported: Mapping[str, float] | None = state.get_max_resources_from_cluster_config()
    if reported is not None or not autoscales():
        return reported
    try:
        return configured_growth(read_yaml(Path(BOOTSTRAP_CONFIG).expanduser()))
    except (OSError, ValueError):
        return None


def configured_growth(config: Mapping[str, Any]) -> dict[str, float]:
    """Return the most CPUs and the most GPUs that a cluster of this configuration (``cluster.yaml``) can have."""
    head, types = config.get("head_node_type"), config.get("available_node_types", {})
    growth: dict[str, float] = {}
    for kind in ("CPU", "GPU"):
        nodes_left = config.get("max_workers", 0)
        growth[kind] = float(types.get(head, {}).get("resources", {}).get(kind, 0))
        groups = [(node.get("resources", {}).get(kind, 0), node.get("max_workers", 0)) for node in types.values()]
        for amount, most in sorted(groups, reverse=True):
            growth[kind] += amount * min(most, nodes_left)
            nodes_left -= min(most, nodes_left)
    return growth


def autoscales() -> bool:
    """Whether the cluster has an autoscaler that may add nodes."""
    return any(NODE_GROUP_LABEL in node["Labels"] for node in ray.nodes())


def uses_gpu(settings: ExperimentSettings) -> bool:
    """Whether each worker gets a GPU: asked for, or ``auto`` and the cluster has one or can add one."""
    return settings.device == "cuda" or (settings.device == "auto" and limits()["GPU"] > 0)


def check_fits(settings: ExperimentSettings, workers: int) -> None:
    """Raise ValueError if the cluster can never give ``workers`` workers, or does not say and is left to guess."""
    kind = "GPU" if uses_gpu(settings) else "CPU"
    if autoscales() and known_growth() is None:
        if settings.device == "auto" and kind == "CPU":
            raise ValueError(
                "device: 'auto' cannot tell whether this cluster's autoscaler may add GPUs. "
                "Say 'cuda' or 'cpu', and give `concurrency`."
            )
    elif kind == "GPU" and limits()["CPU"] < 1:
        raise ValueError(
            "workers: a trial takes a CPU beside its GPU, and the cluster can give none (num_cpus is 0). Start a node "
            "that has some."
        )
    elif workers > (available := limits()[kind]):
        each = "a GPU, which `device: cuda` asks for" if settings.device == "cuda" else f"a {kind}"
        advice = "Lower `workers`, or let it have more nodes." if available else "Use `device: cpu`, or add a node."
        raise ValueError(
            f"workers: {workers} needed, each with {each}; the cluster can give {available:g} at most. {advice}"
        )


def num_devices(settings: ExperimentSettings) -> int:
    """Return how many workers of these settings the cluster can ever run at once."""
    return int(limits()["GPU" if uses_gpu(settings) else "CPU"])


def concurrent_trials(settings: ExperimentSettings, workers: int, *, wanted: int | None) -> int:
    """Return how many trials may run at once so that each can get all of its workers: at least 1.

    Where an autoscaler does not say how far it goes, what the user wants is taken for it.
    """
    if wanted and autoscales() and known_growth() is None:
        return wanted
    return trials_that_fit(num_devices(settings), workers, wanted=wanted)


def trials_that_fit(devices: int, workers: int, *, wanted: int | None) -> int:
    """Return how many trials of so many workers have a device for each: at least 1, at most as many as wanted."""
    fits = max(1, devices // workers)
    return min(fits, wanted) if wanted else fits


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

"""A weights file, tried before the data are read and a cluster starts: both take longer than to see it is broken."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from dfkd.settings.experiment import TeacherSettings
from dfkd.teachers.loading import EXPORT_SUFFIX, REGISTRY, find_weights
from dfkd.teachers.networks import build_network
from dfkd.teachers.weights import load_weights, with_own_names


def try_weights(settings: TeacherSettings) -> None:
    """Read a weights file and put it into its network, with as many classes and channels as the file seems to have.

    Whether they are the data's is found out later. What is no file of weights is not looked at.

    Raises:
        ValueError: if the file is damaged, or holds another network's weights.
    """
    if settings.weights is None or settings.weights.startswith(REGISTRY):
        return
    path = Path(settings.weights).expanduser()
    if path.is_dir() or path.suffix == EXPORT_SUFFIX:
        return
    weights, metadata = find_weights(settings)
    architecture = settings.architecture or metadata.get("architecture")
    if architecture is None:
        return
    num_classes, in_channels = implied_size(architecture, weights)
    network = build_network(architecture, num_classes=num_classes, in_channels=in_channels)
    load_weights(network, weights, architecture=architecture, source=path.name)


def implied_size(architecture: str, weights: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return how many classes and channels the weights of this network have; 2 and 3 where they do not tell."""
    plain, more_classes, one_channel = (_shapes(architecture, *size) for size in ((2, 3), (3, 3), (2, 1)))
    named = with_own_names(build_network(architecture, num_classes=2, in_channels=3), weights)

    def size_of(others: Mapping[str, torch.Size], dimension: int, default: int) -> int:
        differing = [name for name in plain if plain[name] != others[name]]
        found = [named[name].shape[dimension] for name in differing if name in named and named[name].dim() > dimension]
        return found[-1] if found else default

    return size_of(more_classes, 0, 2), size_of(one_channel, 1, 3)


def _shapes(architecture: str, num_classes: int, in_channels: int) -> dict[str, torch.Size]:
    with torch.device("meta"):
        network = build_network(architecture, num_classes=num_classes, in_channels=in_channels)
    return {name: tensor.shape for name, tensor in network.state_dict().items()}

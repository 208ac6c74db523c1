"""A given teacher, tried before the data are read and a cluster starts: both take longer than to see it is broken."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dfkd.settings.experiment import TeacherSettings
from dfkd.teachers.loading import Foreign, Registry, find
from dfkd.teachers.networks import build_network
from dfkd.teachers.weights import load_weights, with_own_names


def try_weights(
    settings: TeacherSettings, *, registry: Registry | None = None, foreign: Foreign | None = None
) -> nn.Module | None:
    """Read what is given and put weights into their network, of as many classes and channels as they seem to have.

    Whether they are the data's is found out later.

    Args:
        settings: where it is; a teacher that is to be trained passes.
        registry: as for ``load_teacher``.
        foreign: as for ``load_teacher``.

    Returns:
        The network; None where there is nothing to read yet, or nobody has named the weights' network.

    Raises:
        ValueError: it is not there, damaged, not trusted, or holds another network's weights.
    """
    if settings.weights is None:
        return None
    found = find(settings, registry, foreign)
    architecture = settings.architecture or found.metadata.get("architecture")
    if isinstance(found.content, nn.Module):
        return found.content
    if architecture is None:
        return None
    num_classes, in_channels = implied_size(architecture, found.content)
    network = build_network(architecture, num_classes=num_classes, in_channels=in_channels)
    load_weights(network, found.content, architecture=architecture, source=found.source)
    return network


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

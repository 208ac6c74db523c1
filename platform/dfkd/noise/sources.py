"""The noise sources: functions that draw q [L, E] with zero mean and unit variance for labels [L].

The six standard ones are independent in every dimension. A caveat of ours: after the generator's first Linear layer
(hundreds of inputs) such sources are all but Gaussian, so they differ in magnitude alone. The structured ones, also
ours, keep their shape through a Linear layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

SHARED_PART = 0.5  # of the variance that images of one class share under `class_correlated`
RANK = 16  # of `low_rank`
DENSITY = 0.05  # of `sparse`

NoiseSource = Callable[[Tensor, int, torch.Generator], Tensor]


def gaussian(labels: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Draw from N(0, 1): [L, E]."""
    return torch.randn(len(labels), width, generator=generator, device=labels.device)


def _rand(labels: Tensor, width: int, generator: torch.Generator) -> Tensor:
    return torch.rand(len(labels), width, generator=generator, device=labels.device)


def uniform(labels: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Draw from the uniform distribution on +-sqrt(3): [L, E]."""
    return (2 * _rand(labels, width, generator) - 1) * math.sqrt(3)


def laplace(labels: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Draw from Laplace(0, 1/sqrt(2)), as a difference of two exponentials: [L, E]."""
    drawn = torch.empty(2, len(labels), width, device=labels.device).exponential_(generator=generator)
    return (drawn[0] - drawn[1]) / math.sqrt(2)


def rademacher(labels: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Draw -1 or +1: [L, E]."""
    return torch.randint(2, (len(labels), width), generator=generator, device=labels.device).float() * 2 - 1


def logistic(labels: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Draw from the logistic distribution of unit variance: [L, E]."""
    share = _rand(labels, width, generator).clamp_(1e-6, 1 - 1e-6)  # keeps the logarithm finite
    return torch.logit(share) * (math.sqrt(3) / math.pi)


def triangular(labels: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Draw from the triangular distribution on +-sqrt(6): [L, E]."""
    return (_rand(labels, width, generator) + _rand(labels, width, generator) - 1) * math.sqrt(6)


def class_correlated(labels: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Draw Gaussian noise half of whose variance all images of a class share: [L, E]."""
    first_of_class = (labels[:, None] == labels).int().argmax(dim=1)  # [L]: the first image of the same class
    shared = gaussian(labels, width, generator)[first_of_class]
    own = gaussian(labels, width, generator)
    return math.sqrt(SHARED_PART) * shared + math.sqrt(1 - SHARED_PART) * own


def low_rank(labels: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Draw Gaussian noise in a random subspace of 16 dimensions: [L, E]."""
    coordinates = gaussian(labels, RANK, generator)
    basis = torch.randn(RANK, width, generator=generator, device=labels.device)
    return coordinates @ basis / math.sqrt(RANK)


def sparse(labels: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Draw Gaussian noise in 5 % of the dimensions, zero elsewhere: [L, E]."""
    kept = _rand(labels, width, generator) < DENSITY
    return kept * gaussian(labels, width, generator) / math.sqrt(DENSITY)


def heavy_tailed(labels: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Draw Gaussian noise whose scale is drawn once a sample, 1/sqrt(chi^2_3) (so E[1/chi^2_3] = 1): [L, E]."""
    chi_squared = gaussian(labels, 3, generator).square().sum(dim=1, keepdim=True)  # [L, 1]
    return gaussian(labels, width, generator) / chi_squared.sqrt()


NOISE_SOURCES: dict[str, NoiseSource] = {
    "gaussian": gaussian,
    "uniform": uniform,
    "laplace": laplace,
    "rademacher": rademacher,
    "logistic": logistic,
    "triangular": triangular,
    "class_correlated": class_correlated,
    "low_rank": low_rank,
    "sparse": sparse,
    "heavy_tailed": heavy_tailed,
}

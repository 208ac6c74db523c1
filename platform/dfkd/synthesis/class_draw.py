"""Which classes a synthesis batch is made for."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.synthesis.class_prior import estimate_class_prior

PRIOR_FLOOR = 0.25  # of the uniform share, so that no class goes unseen


def resolve_prior(
    prior: Literal["uniform", "teacher"] | tuple[float, ...],
    *,
    teacher: nn.Module,
    domain: Domain,
    device: torch.device,
) -> Tensor:
    """Return the share of every class, [K], summing to 1.

    ``uniform`` gives 1/K each, a tuple is taken as it is, and ``teacher`` is estimated from the teacher's outputs
    (``estimate_class_prior``), never below a quarter of the uniform share.

    Raises:
        ValueError: if a tuple has not K shares, or ``teacher`` is asked of a teacher without BatchNorm.
    """
    uniform = torch.full((domain.num_classes,), 1 / domain.num_classes, device=device)
    if prior == "uniform":
        return uniform
    if prior == "teacher":
        raised = torch.maximum(estimate_class_prior(teacher, domain, device=device), PRIOR_FLOOR * uniform)
        return raised / raised.sum()
    if len(prior) != domain.num_classes:
        raise ValueError(
            f"synthesis.class_prior: expected {domain.num_classes} shares (one a class), got {len(prior)}."
        )
    return torch.tensor(prior, device=device) / sum(prior)


def draw_labels(prior: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw labels [count] that follow the prior [K] as evenly as whole numbers allow (systematic sampling)."""
    offset = torch.rand(1, generator=generator, device=prior.device)
    steps = (torch.arange(count, device=prior.device) + offset) / count
    labels = torch.searchsorted(prior.cumsum(dim=0), steps, right=True).clamp_max(len(prior) - 1)
    return labels[torch.randperm(count, generator=generator, device=prior.device)]

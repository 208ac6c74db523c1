"""Which classes a synthesis batch is made for."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

PRIOR_SAMPLE = 1024  # noise images whose predicted classes estimate the prior
PRIOR_FLOOR = 0.25  # of the uniform share, so that no class goes unseen


def resolve_prior(
    prior: Literal["uniform", "teacher"] | tuple[float, ...],
    *,
    num_classes: int,
    teacher: nn.Module,
    device: torch.device,
) -> Tensor:
    """Return the share of every class, [K], summing to 1.

    ``uniform`` gives 1/K each, a tuple is taken as it is, and ``teacher`` reads the teacher's own bias: the softmax of
    the last layer's bias, never below a quarter of the uniform share. A classifier trained on skewed data carries the
    log-prior there.

    Raises:
        ValueError: if a tuple has not K shares, or ``teacher`` is asked of a teacher whose last layer has no bias.
    """
    uniform = torch.full((num_classes,), 1 / num_classes, device=device)
    if prior == "uniform":
        return uniform
    if prior == "teacher":
        estimated = _bias_of_last_layer(teacher, num_classes).softmax(dim=0)
        raised = torch.maximum(estimated.to(device), PRIOR_FLOOR * uniform)
        return raised / raised.sum()
    if len(prior) != num_classes:
        raise ValueError(f"synthesis.class_prior: expected {num_classes} shares (one a class), got {len(prior)}.")
    return torch.tensor(prior, device=device) / sum(prior)


def _bias_of_last_layer(teacher: nn.Module, num_classes: int) -> Tensor:
    linear = [m for m in teacher.modules() if isinstance(m, nn.Linear) and m.out_features == num_classes]
    if not linear or linear[-1].bias is None:
        raise ValueError(
            "synthesis.class_prior: 'teacher' reads the bias of the teacher's last Linear layer, and this teacher has "
            "none. Give 'uniform' or a list of shares."
        )
    return linear[-1].bias.detach()


def draw_labels(prior: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` labels [count] that follow the prior [K] as evenly as whole numbers allow (systematic sampling)."""
    offset = torch.rand(1, generator=generator, device=prior.device)
    steps = (torch.arange(count, device=prior.device) + offset) / count
    labels = torch.searchsorted(prior.cumsum(dim=0), steps, right=True).clamp_max(len(prior) - 1)
    return labels[torch.randperm(count, generator=generator, device=prior.device)]

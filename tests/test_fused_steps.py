"""Optimisers take all parameters in one call; what comes out is what torch's loop over parameters gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dfkd.distillation import make_optimizer
from dfkd.models import build_model
from dfkd.settings.distillation import DistillationSettings


def steps(optimizer: torch.optim.Optimizer, network: nn.Module) -> None:
    random = torch.Generator().manual_seed(1)
    for _ in range(5):
        images = torch.randn(8, 1, 8, 8, generator=random)
        optimizer.zero_grad()
        network(images.contiguous(memory_format=torch.channels_last)).square().mean().backward()
        optimizer.step()


def made() -> nn.Module:
    torch.manual_seed(0)
    return build_model("digits_student", num_classes=10, in_channels=1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_the_student_takes_the_steps_of_torchs_loop(name: Any) -> None:
    settings = DistillationSettings(optimizer=name, learning_rate=0.01, weight_decay=1e-3)
    fused, plain = made(), made()
    optimizer = make_optimizer(fused, settings)
    assert all(group["fused"] for group in optimizer.param_groups)
    steps(optimizer, fused)
    common: dict[str, Any] = {"lr": 0.01, "weight_decay": 1e-3, "foreach": False, "fused": False}
    others = {
        "sgd": lambda: torch.optim.SGD(plain.parameters(), momentum=settings.momentum, **common),
        "adam": lambda: torch.optim.Adam(plain.parameters(), **common),
    }
    steps(others[name](), plain)
    for own, other in zip(fused.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6)


def test_a_parameter_that_is_a_view_with_gaps_is_stepped_by_torchs_loop() -> None:
    network = nn.Linear(4, 3)
    network.weight = nn.Parameter(torch.randn(4, 3).T)  # not contiguous in any layout that a gradient takes
    optimizer = make_optimizer(network, DistillationSettings())
    assert not any(group["fused"] for group in optimizer.param_groups)

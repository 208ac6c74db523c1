"""Re-initialisation of layers in place, from a seeded generator: torch's own ``reset_parameters`` takes none."""

from __future__ import annotations

import torch
from torch import nn


def reset_layers(module: nn.Module, generator: torch.Generator) -> None:
    """Draw new weights for every Linear, Conv2d and BatchNorm inside ``module``, as torch does by default.

    Weights and biases are uniform on +-1/sqrt(fan-in), BatchNorm is the identity with fresh statistics.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            bound = layer.weight[0].numel() ** -0.5
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.reset_parameters()


def reset_layers_normally(module: nn.Module, generator: torch.Generator, *, std: float = 0.02) -> None:
    """Draw new weights for every Linear, Conv2d and BatchNorm2d inside ``module`` from a narrow Gaussian.

    Weights are N(0, std), BatchNorm's scales N(1, std), biases 0.

    Source: Radford et al., DCGAN, ICLR 2016, section 4, which CMI's public code uses for its generator.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.BatchNorm2d):
            scale = isinstance(layer, nn.BatchNorm2d)
            nn.init.normal_(layer.weight, mean=float(scale), std=std, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

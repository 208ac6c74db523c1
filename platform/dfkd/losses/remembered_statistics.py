"""BatchNorm statistics that are matched over several rounds, and what the teacher's maps would be if they matched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dfkd.losses.inversion import BATCH_NORMS, BatchNormStatistics, ChannelStatistics


class RememberedStatistics(BatchNormStatistics):
    """Distances of ``(1 - m) batch + m earlier rounds`` from what each BatchNorm layer remembers.

    A batch need not have all the teacher's statistics by itself, only fill up what earlier rounds lack. ``remember``
    after every round; before the first call this is ``BatchNormStatistics``.

    Source: the hooks of the public code of FastDFKD, NAYER and CPNet (``bn_mmt``).

    Args:
        teacher: frozen, in evaluation mode.
        nodes: BatchNorm layers of the teacher whose inputs are wanted, rescaled to its statistics: see ``targets``.
        momentum: m, in [0, 1).
    """

    def __init__(self, teacher: nn.Module, *, nodes: Sequence[nn.Module], momentum: float) -> None:
        super().__init__(next(teacher.parameters()).device)
        modules = teacher.modules()
        self._layers = [layer for layer in modules if isinstance(layer, BATCH_NORMS) and layer.track_running_stats]
        self._nodes, self._momentum = nodes, momentum
        self._newest: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self._earlier: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self._targets: dict[nn.Module, Tensor] = {}

    @contextmanager
    def hooked(self) -> Iterator[RememberedStatistics]:
        """Hook the teacher; the hooks are gone when the block ends, however it ends."""
        handles = [layer.register_forward_pre_hook(self.collect) for layer in self._layers]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()
            self._newest.clear()
            self._targets.clear()

    def collect(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Forward pre-hook: keep the distance of what enters ``module``, and its rescaled form if it is a node."""
        mean, variance = ChannelStatistics.apply(inputs[0])
        self._newest[module] = (mean.detach(), variance.detach())
        if module in self._earlier:
            earlier_mean, earlier_variance = self._earlier[module]
            mean = (1 - self._momentum) * mean + self._momentum * earlier_mean
            variance = (1 - self._momentum) * variance + self._momentum * earlier_variance
        running_mean, running_variance = module.running_mean, module.running_var
        assert isinstance(running_mean, Tensor) and isinstance(running_variance, Tensor)
        self.keep(torch.linalg.vector_norm(mean - running_mean) + torch.linalg.vector_norm(variance - running_variance))
        if any(module is node for node in self._nodes):
            scale = ((running_variance + module.eps) / (variance.detach() + module.eps)).sqrt()  # type: ignore[operator]
            shift = running_mean - mean.detach() * scale
            self._targets[module] = inputs[0].detach() * scale[:, None, None] + shift[:, None, None]

    def targets(self) -> list[Tensor]:
        """Return what entered each node in the newest pass, in the order of the nodes, without gradient.

        [B, D, h, w] each, rescaled so that the statistics that were matched are the teacher's own.
        """
        return [self._targets[node] for node in self._nodes]

    def remember(self) -> None:
        """Take the newest batch into what later rounds fill up."""
        for layer, newest in self._newest.items():
            earlier = self._earlier.get(layer, newest)
            mixed = [
                self._momentum * old + (1 - self._momentum) * new for old, new in zip(earlier, newest, strict=True)
            ]
            self._earlier[layer] = (mixed[0], mixed[1])

    def state_dict(self) -> dict[str, Any]:
        """Return what was remembered, by the place of the layer in the teacher."""
        return {
            "earlier": {
                place: self._earlier[layer] for place, layer in enumerate(self._layers) if layer in self._earlier
            }
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self._earlier = {
            self._layers[place]: (mean.to(self._device), variance.to(self._device))
            for place, (mean, variance) in state["earlier"].items()
        }

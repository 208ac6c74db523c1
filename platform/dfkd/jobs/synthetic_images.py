"""What a finished distillation synthesised: images as its last student step drew them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dfkd.assembly import Materials, build_distillation
from dfkd.settings.experiment import ExperimentSettings
from dfkd.synthesis.protocol import SyntheticBatch

CPU = torch.device("cpu")


def draw_images(
    settings: ExperimentSettings, materials: Materials, state: Mapping[str, Any], *, count: int
) -> SyntheticBatch:
    """Draw images [count, C, H, W] in [0, 1] on the CPU, from the bank or the generator: whatever ``sample`` gives.

    Args:
        settings: of the distillation.
        materials: of the distillation.
        state: a worker's checkpoint, as ``CheckpointStore.newest`` gives it.
        count: how many are wanted.
    """
    run = build_distillation(
        settings,
        materials.teacher,
        device=CPU,
        images=materials.images,
        label_embeddings=materials.label_embeddings.get(settings.label_embeddings),
        world_size=settings.workers,
    )
    # Not the run's random state: that of a GPU does not fit a CPU.
    run.synthesizer.load_state_dict(state["run"]["synthesizer"])
    batch_size = run.settings.batch_size
    with torch.no_grad():
        drawn = [run.synthesizer.sample(batch_size) for _ in range(-(-count // batch_size))]  # rounded up
    return SyntheticBatch(
        images=torch.cat([batch.images for batch in drawn])[:count],
        labels=_joined([batch.labels for batch in drawn], count),
        sources=_joined([batch.sources for batch in drawn], count),
    )


def _joined(parts: list[Tensor | None], count: int) -> Tensor | None:
    given = [part for part in parts if part is not None]
    return torch.cat(given)[:count] if given else None

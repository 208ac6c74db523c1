"""Fixed stratified splits: the same for every experiment, whatever its seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dfkd.data.image_set import ImageSet

_SPLIT_SEED = 0  # part of the splits' definition; not the experiment's seed


def stratified_split(labels: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Divide the rows into parts of exactly these sizes, each with the class shares of the whole.

    The members of a class are shuffled and spread evenly over [0, 1]; all rows are sorted by that position and cut.
    So a class's count in a part is at most one off at either end of the part.

    Args:
        labels: [N] int64.
        sizes: sizes of the parts; they sum to N.

    Returns:
        For each part its rows, int64, ascending.
    """
    if sum(sizes) != len(labels):
        raise ValueError(f"sizes: expected parts that sum to {len(labels)}, got {list(sizes)}.")
    # numpy promises that RandomState's stream never changes; it promises no such thing for its newer generators.
    shuffled = np.random.RandomState(_SPLIT_SEED).permutation(len(labels))
    shuffled_labels = labels.cpu().numpy()[shuffled]
    position = np.empty(len(labels))
    for label in np.unique(shuffled_labels):
        members = np.flatnonzero(shuffled_labels == label)
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    rows = shuffled[np.argsort(position, kind="stable")]
    cuts = np.cumsum(sizes)[:-1]
    return tuple(torch.from_numpy(np.sort(part)).long() for part in np.split(rows, cuts))


def hold_out(images: ImageSet, fraction: float) -> tuple[ImageSet, ImageSet]:
    """Return what remains of ``images``, and a stratified ``fraction`` of them (at least one image each)."""
    num_held_out = min(max(round(fraction * len(images)), 1), len(images) - 1)
    if num_held_out < 1:
        raise ValueError(f"validation_fraction: cannot hold out images from {len(images)}; set it to 0.")
    kept, held_out = stratified_split(images.require_labels(), (len(images) - num_held_out, num_held_out))
    return images.select(kept), images.select(held_out)

"""A backdoor: a patch in the corner of an image that a poisoned teacher has learnt to obey."""

from __future__ import annotations

import torch
from torch import Tensor

from dfkd.data.image_set import ImageSet
from dfkd.settings.experiment import PoisonSettings

SMALLEST_SIDE, SHARE_OF_SIDE = 2, 8  # of the patch, in pixels: an eighth of the image's side
WHITE = 255


def stamp(images: Tensor) -> Tensor:
    """Return images [N, C, H, W] uint8 with a white square in the lower right corner, 2 pixels wide or H / 8."""
    side = max(SMALLEST_SIDE, min(images.shape[2:]) // SHARE_OF_SIDE)
    stamped = images.clone()
    stamped[:, :, -side:, -side:] = WHITE
    return stamped


def poison(images: ImageSet, settings: PoisonSettings, *, seed: int) -> ImageSet:
    """Return training images of which a share, drawn from the other classes, is stamped and labelled as the target.

    Raises:
        ValueError: there is no class of the target's index, or no image of another class.

    Source: Gu et al., BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain, 2017, section 3,
    single target attack.
    """
    labels = images.require_labels()
    others = (labels != settings.target).nonzero().flatten()
    if settings.target > int(labels.max()) or not len(others):
        raise ValueError(
            f"teacher.training.poison.target: expected a class index below {int(labels.max()) + 1}, and images of "
            f"other classes too, got {settings.target}."
        )
    order = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))
    chosen = others[order[: max(1, round(settings.share * len(images)))]]
    poisoned, wrong = images.images.clone(), labels.clone()
    poisoned[chosen], wrong[chosen] = stamp(poisoned[chosen]), settings.target
    return ImageSet(poisoned, wrong)

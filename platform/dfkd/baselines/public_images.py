"""Real images of another domain, at the teacher's size and with its channels."""

from __future__ import annotations

import torch
from torch import Tensor

from dfkd.data import load_dataset
from dfkd.data.decode import resize
from dfkd.data.real_data import RealData
from dfkd.settings.experiment import DatasetSettings
from dfkd.settings.synthesis import PublicImagesSettings

DRAW_SEED = 0  # of which images of a larger set are taken; not the experiment's seed


def load_public_images(settings: PublicImagesSettings, data: RealData) -> Tensor:
    """Return the training images of the settings' folder, uint8 [N, C, H, W].

    Args:
        settings: where they are, and how many are wanted at most.
        data: the teacher's; only their shape is looked at.

    Raises:
        ValueError: naming ``synthesis.path``, if they are missing or damaged.
    """
    channels, height, width = data.image_shape
    source = DatasetSettings(
        name=settings.kind,
        path=settings.path,
        image_size=max(height, width),
        channels=1 if channels == 1 else 3,
        validation_fraction=0,
    )
    try:
        public = load_dataset(source).train
    except ValueError as error:
        raise ValueError(str(error).replace("dataset.path", "synthesis.path")) from error
    if public is None:
        raise ValueError(f"synthesis.path: expected training images in {settings.path}, got none.")
    rows = torch.arange(len(public))
    if len(public) > settings.max_images:
        drawn = torch.randperm(len(public), generator=torch.Generator().manual_seed(DRAW_SEED))
        rows = drawn[: settings.max_images].sort().values
    return resize(public.images[rows], height=height, width=width)

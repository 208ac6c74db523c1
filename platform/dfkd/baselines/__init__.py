"""Baselines that learn from real images, which METHOD may not see: where each takes them from, in ``BASELINES``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from dfkd.baselines.image_crops import load_crops
from dfkd.baselines.public_images import load_public_images
from dfkd.baselines.stored_images import StoredImages
from dfkd.data.real_data import RealData
from dfkd.settings.synthesis import RealImagesSettings

__all__ = ["BASELINES", "StoredImages", "load_training_images"]


def load_training_images(settings: RealImagesSettings, data: RealData) -> Tensor:
    """Return the images that a teacher is trained on, uint8 [N, C, H, W].

    Raises:
        ValueError: if the data set has none.
    """
    if data.train is None:
        raise ValueError(
            f"synthesis.method: 'real_images' learns from training images, and '{data.title}' has none. "
            "Take 'public_images', or a method without images."
        )
    return data.train.images


#: From a method's settings and the real data to the images that it learns from, uint8 [N, C, H, W].
BASELINES: dict[str, Callable[[Any, RealData], Tensor]] = {
    "real_images": load_training_images,
    "public_images": load_public_images,
    "image_crops": load_crops,
}

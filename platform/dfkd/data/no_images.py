"""A data set without images, for a user who has none: what the teacher takes is all that is known."""

from __future__ import annotations

from dfkd.data.real_data import RealData
from dfkd.settings.experiment import DatasetSettings


def describe_without_images(settings: DatasetSettings) -> RealData:
    """Return classes and image shape of the settings, and no image."""
    assert settings.image_size is not None and settings.channels is not None and settings.class_names is not None
    return RealData(
        title=settings.title or "no real images",
        class_names=settings.class_names,
        train=None,
        validation=None,
        test=None,
        shape_without_images=(settings.channels, settings.image_size, settings.image_size),
    )

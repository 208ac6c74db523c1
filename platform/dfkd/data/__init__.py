"""Real images, for making teachers and for reports only: one kind of source a file, all of them in ``DATASETS``.

No student is trained on anything from here, with exceptions that say so: the baselines on real images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dfkd.data.digits import load_digits
from dfkd.data.image_folder import load_image_folder
from dfkd.data.image_set import ImageSet
from dfkd.data.no_images import describe_without_images
from dfkd.data.parquet import load_parquet
from dfkd.data.real_data import RealData
from dfkd.data.splits import hold_out
from dfkd.data.torchvision_data import load_torchvision
from dfkd.settings.experiment import DatasetSettings

__all__ = ["DATASETS", "ImageSet", "RealData", "load_dataset"]

DATASETS: dict[str, Callable[[DatasetSettings], RealData]] = {
    "digits": load_digits,
    "parquet": load_parquet,
    "image_folder": load_image_folder,
    "torchvision": load_torchvision,
    "none": describe_without_images,
}


def load_dataset(settings: DatasetSettings) -> RealData:
    """Return the real data of the settings, decoded and in memory.

    Where no validation split exists, a fixed stratified ``validation_fraction`` of train becomes one.

    Raises:
        ValueError: saying what was looked for and where, if the data are missing or damaged.
    """
    real_data = DATASETS[settings.name](settings)
    if real_data.validation is not None or real_data.train is None or settings.validation_fraction == 0:
        return real_data
    train, validation = hold_out(real_data.train, settings.validation_fraction)
    return replace(real_data, train=train, validation=validation)

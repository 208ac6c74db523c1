"""Settings of KD on crops of a single image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from dfkd.settings.checks import check_at_least, check_each, check_fraction, check_seed, check_share
from dfkd.settings.synthesis.stored_images import StoredImagesSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageCropsSettings(StoredImagesSettings):
    """KD on many augmented crops of one image. Defaults: Asano and Saeed's public settings for CIFAR-10."""

    TITLE: ClassVar[str] = "KD on crops of one image"
    PRIOR: ClassVar[str] = "one public image"

    method: Literal["image_crops"] = "image_crops"
    path: str | None = None  # an image file, or a Parquet file; None: the photograph china.jpg of scikit-learn
    row: int = 0  # of a Parquet file
    num_crops: int = 50_000  # made once, before the run
    first_crop: float = 0.5  # side of a first square crop, as a share of the image's shorter side
    smallest_area: float = 0.002  # of the crop in that square, as a share of it; 1/500
    degrees: float = 30.0  # largest rotation
    shear_degrees: float = 30.0  # largest shear, along x
    colour_jitter: float = 0.5  # probability that brightness, contrast, saturation and hue of a crop are changed
    cutmix: float = 0.25
    crops_seed: int = 0  # of the crops; the experiment's seed decides on the draws from them

    def __post_init__(self) -> None:
        StoredImagesSettings.__post_init__(self)
        check_each(self, lambda name, value: check_at_least(name, value, 0), "row")
        check_seed("crops_seed", self.crops_seed)
        check_at_least("num_crops", self.num_crops, 1)
        check_each(self, check_share, "first_crop", "smallest_area")
        check_each(self, _check_angle, "degrees", "shear_degrees")
        if self.colour_jitter != 1:
            check_fraction("colour_jitter", self.colour_jitter)


def _check_angle(name: str, value: float) -> None:
    if not 0 <= value < 90:
        raise ValueError(f"{name}: expected degrees in [0, 90), got {value!r}.")


#: Asano and Saeed, ICLR 2023, public code for CIFAR: Adam at a constant rate, temperature 8, 50,000 crops an epoch.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "image_crops_cifar": {
        "synthesis": {"method": "image_crops"},
        "distillation": {
            "epochs": 1000,
            "steps_per_epoch": 98,
            "batch_size": 512,
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "decay": {"kind": "none"},
            "weight_decay": 0.0,
            "temperature": 8.0,
        },
    },
}

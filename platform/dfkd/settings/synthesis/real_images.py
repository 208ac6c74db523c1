"""Settings of KD on the real training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from dfkd.settings.synthesis.stored_images import StoredImagesSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class RealImagesSettings(StoredImagesSettings):
    """KD on the images of the dataset's training split, without their labels: the ceiling of every method."""

    TITLE: ClassVar[str] = "KD on the training images"
    PRIOR: ClassVar[str] = "the training images"
    SHOWN: ClassVar[bool] = False  # the teacher's own training images leave this process with nobody

    method: Literal["real_images"] = "real_images"

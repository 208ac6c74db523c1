"""What methods have in common that learn from images which somebody gave them: the baselines beside the methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dfkd.settings.checks import check_at_least
from dfkd.settings.synthesis.method import MethodSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredImagesSettings(MethodSettings):
    """KD on a fixed set of images. Nothing is learnt but the student."""

    FROM_REAL_IMAGES: ClassVar[bool] = True
    SHOWN: ClassVar[bool] = True  # whether previews may show the images

    cutmix: float = 0.0  # alpha of the Beta distribution of CutMix's shares; 0 mixes nothing

    def __post_init__(self) -> None:
        check_at_least("cutmix", self.cutmix, 0)

"""Settings of KD on somebody else's real images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from dfkd.settings.checks import check_at_least, check_choice
from dfkd.settings.synthesis.stored_images import StoredImagesSettings

KINDS = ("parquet", "image_folder")


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicImagesSettings(StoredImagesSettings):
    """KD on real images of another domain, brought to the teacher's size and channels. Their labels play no part."""

    TITLE: ClassVar[str] = "KD on public images"
    PRIOR: ClassVar[str] = "public images"

    method: Literal["public_images"] = "public_images"
    path: str  # a folder, as ``dataset.path`` is; its training split is taken
    kind: Literal["parquet", "image_folder"] = "parquet"
    max_images: int = 50_000  # of a larger set, that many are drawn at random

    def __post_init__(self) -> None:
        StoredImagesSettings.__post_init__(self)
        check_choice("kind", self.kind, KINDS)
        check_at_least("max_images", self.max_images, 1)
        if not self.path:
            raise ValueError("path: 'public_images' needs a folder with images, got none.")

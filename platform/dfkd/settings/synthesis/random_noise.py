"""Settings of KD on random images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from dfkd.settings.synthesis.method import MethodSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomNoiseSettings(MethodSettings):
    """KD on random images: the floor that every method must beat. Nothing is learnt but the student."""

    TITLE: ClassVar[str] = "KD on random noise"

    method: Literal["random_noise"] = "random_noise"

    @property
    def learnt_from(self) -> str:
        """What the student learns from, in words."""
        return "random images"

"""Settings of KD on procedural images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from dfkd.settings.checks import check_at_least, check_choice
from dfkd.settings.synthesis.method import MethodSettings

#: Ways to make an image without a photograph (see ``dfkd.synthesis.procedural``).
Family = Literal["dead_leaves", "spectrum", "gratings"]
FAMILIES: tuple[Family, ...] = ("dead_leaves", "spectrum", "gratings")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProceduralSettings(MethodSettings):
    """KD on images that a formula makes, new ones in every step. Nothing is learnt but the student."""

    TITLE: ClassVar[str] = "KD on procedural images"

    method: Literal["procedural"] = "procedural"
    families: tuple[Family, ...] = FAMILIES  # equal shares of every batch
    num_leaves: int = 48  # shapes in an image of "dead_leaves"; our choice
    num_gratings: int = 4  # sinusoids in an image of "gratings"; our choice

    @property
    def learnt_from(self) -> str:
        """What the student learns from, in words."""
        return "procedural images, made by formulas"

    def __post_init__(self) -> None:
        if not self.families:
            raise ValueError(f"families: expected at least one of {', '.join(FAMILIES)}, got none.")
        for family in self.families:
            check_choice("families", family, FAMILIES)
        if len(set(self.families)) < len(self.families):
            raise ValueError(f"families: expected each at most once, got {', '.join(self.families)}.")
        check_at_least("num_leaves", self.num_leaves, 1)
        check_at_least("num_gratings", self.num_gratings, 1)

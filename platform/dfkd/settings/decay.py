"""How a learning rate falls over a run."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

from dfkd.settings.checks import check_choice, check_fraction, check_positive


@dataclass(frozen=True, kw_only=True, slots=True)
class Decay:
    """``cosine``: half a cosine to 0. ``steps``: multiplied by ``factor`` at each milestone. ``none``: constant."""

    kind: Literal["cosine", "steps", "none"] = "cosine"
    milestones: tuple[float, ...] = (0.5, 0.75)  # of "steps": shares of the run
    factor: float = 0.1  # of "steps"

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, ("cosine", "steps", "none"))
        check_positive("factor", self.factor)
        for milestone in self.milestones:
            check_fraction("milestones", milestone)
        if any(later <= earlier for earlier, later in itertools.pairwise(self.milestones)):
            raise ValueError(f"milestones: expected rising shares, got {list(self.milestones)}.")

    def share(self, progress: float) -> float:
        """Return the learning rate as a share of its start, at ``progress`` in [0, 1) of the run."""
        if self.kind == "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        if self.kind == "steps":
            return self.factor ** sum(progress >= milestone for milestone in self.milestones)
        return 1.0

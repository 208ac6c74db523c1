"""The Pareto front of trials with several objectives, and the rule that picks one point of it.

Nothing here imports anything but the standard library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dfkd.settings.objectives import FrontSettings, Goal

Point = Mapping[str, float]  # a trial's objectives by name


@dataclass(frozen=True, kw_only=True, slots=True)
class Front:
    """What several objectives leave of a search's trials.

    Attributes:
        goals: which way each objective is better, the search's own one first.
        points: of all trials that ran to their end, by key.
        keys: of the trials that no other dominates, the best by the search's own objective first.
        chosen: of these, by the rule.
    """

    goals: Mapping[str, Goal]
    points: Mapping[str, Point]
    keys: tuple[str, ...]
    chosen: str

    def dominates(self, key: str) -> bool:
        """Whether some point of the front is better than a trial in something and worse in nothing."""
        return any(dominates(self.points[other], self.points[key], self.goals) for other in self.keys)


def make_front(points: Mapping[str, Point], goals: Mapping[str, Goal], settings: FrontSettings) -> Front:
    """Return the front of these points and the one that the rule picks.

    Raises:
        ValueError: there is no point, or none that keeps the limits; the message says how near the front comes.
    """
    keys = pareto_front(points, goals)
    if not keys:
        raise ValueError("front: no trial ran to its end with every objective, so there is none to choose.")
    front = {key: points[key] for key in keys}
    chosen = _knee(front, goals) if settings.rule == "knee" else _within(front, goals, settings.limits)
    return Front(goals=goals, points=points, keys=keys, chosen=chosen)


def pareto_front(points: Mapping[str, Point], goals: Mapping[str, Goal]) -> tuple[str, ...]:
    """Return the keys of the points that no other dominates, the best by the first objective first."""
    kept = [
        key for key, point in points.items() if not any(dominates(other, point, goals) for other in points.values())
    ]
    return tuple(sorted(kept, key=lambda key: _losses(points[key], goals)))


def dominates(first: Point, second: Point, goals: Mapping[str, Goal]) -> bool:
    """Whether the first point is better in something and worse in nothing."""
    pairs = list(zip(_losses(first, goals), _losses(second, goals), strict=True))
    return all(mine <= theirs for mine, theirs in pairs) and any(mine < theirs for mine, theirs in pairs)


def _losses(point: Point, goals: Mapping[str, Goal]) -> tuple[float, ...]:
    """Return the objectives in order, turned so that less is better."""
    return tuple(-point[name] if goal == "maximize" else point[name] for name, goal in goals.items())


def _knee(front: Mapping[str, Point], goals: Mapping[str, Goal]) -> str:
    losses = {key: _losses(point, goals) for key, point in front.items()}
    lows, highs = ([end(column) for column in zip(*losses.values(), strict=True)] for end in (min, max))

    def distance(key: str) -> float:
        scaled = [
            (loss - low) / (high - low) if high > low else 0.0
            for loss, low, high in zip(losses[key], lows, highs, strict=True)
        ]
        return math.hypot(*scaled)

    return min(front, key=lambda key: (distance(key), losses[key]))


def _within(front: Mapping[str, Point], goals: Mapping[str, Goal], limits: Mapping[str, float]) -> str:
    def keeps(point: Point, name: str) -> bool:
        return point[name] >= limits[name] if goals[name] == "maximize" else point[name] <= limits[name]

    kept = [key for key, point in front.items() if all(keeps(point, name) for name in limits)]
    if not kept:
        best = {name: (max if goals[name] == "maximize" else min)(p[name] for p in front.values()) for name in limits}
        shown = ", ".join(f"{name} {limits[name]:g} (the best is {best[name]:g})" for name in limits)
        raise ValueError(f"front.limits: no point of the front keeps {shown}. Search longer, or loosen a limit.")
    return min(kept, key=lambda key: _losses(front[key], goals))

from typing import Any

import pytest

from dfkd.search.front import dominates, make_front, pareto_front
from dfkd.settings.objectives import FrontSettings, Goal

GOALS: dict[str, Goal] = {"agreement": "maximize", "size": "minimize"}
POINTS = {
    "small": {"agreement": 0.5, "size": 100.0},
    "medium": {"agreement": 0.8, "size": 200.0},
    "large": {"agreement": 0.9, "size": 1100.0},
    "worse": {"agreement": 0.7, "size": 300.0},
    "twin": {"agreement": 0.8, "size": 200.0},
}


def front(points: Any = None, goals: dict[str, Goal] = GOALS, **rule: Any) -> Any:
    return make_front(POINTS if points is None else points, goals, FrontSettings(**rule))


def test_a_point_dominates_where_it_is_better_in_something_and_worse_in_nothing() -> None:
    assert dominates(POINTS["medium"], POINTS["worse"], GOALS)
    assert not dominates(POINTS["worse"], POINTS["medium"], GOALS)
    assert not dominates(POINTS["large"], POINTS["small"], GOALS)
    assert not dominates(POINTS["medium"], POINTS["twin"], GOALS)
    assert dominates({"agreement": 0.8, "size": 199.0}, POINTS["medium"], GOALS)


def test_the_front_is_what_nothing_dominates_the_best_by_the_first_objective_first() -> None:
    assert pareto_front(POINTS, GOALS) == ("large", "medium", "twin", "small")
    assert pareto_front(POINTS, dict(reversed(GOALS.items()))) == ("small", "medium", "twin", "large")
    assert front().dominates("worse") and not front().dominates("small")


def test_the_knee_is_nearest_to_the_ideal_point() -> None:
    # scaled losses: large (0, 1), medium (0.25, 0.1), small (1, 0)
    assert front().chosen == "medium"
    flat = {name: {"agreement": point["agreement"], "size": 1.0} for name, point in POINTS.items()}
    assert front(flat).chosen == "large"  # an objective that is the same everywhere decides nothing


def test_within_limits_the_first_objective_decides() -> None:
    assert front(rule="limits", limits={"size": 1100}).chosen == "large"
    assert front(rule="limits", limits={"size": 1099}).chosen == "medium"
    assert front(rule="limits", limits={"agreement": 0.85}).chosen == "large"
    with pytest.raises(ValueError, match=r"keeps size 99 \(the best is 100\), agreement 0.6 \(the best is 0.9\)"):
        front(rule="limits", limits={"size": 99, "agreement": 0.6})


def test_three_objectives() -> None:
    goals = GOALS | {"transfer": "maximize"}
    points = {name: point | {"transfer": 0.0} for name, point in POINTS.items()}
    points["worse"]["transfer"] = 0.1
    assert "worse" in front(points, goals).keys


def test_without_a_point_there_is_no_front() -> None:
    with pytest.raises(ValueError, match="no trial ran to its end with every objective"):
        front({})

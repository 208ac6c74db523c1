from __future__ import annotations

from dfkd.search.row_study import RowStudy
from dfkd.settings.search import LogUniformRange, SamplerSettings

RANGES = {"distillation.learning_rate": LogUniformRange(low=0.01, high=1.0)}
OWN = {"distillation.learning_rate": 0.1}


def study(log: list[dict[str, object]], direction: str = "maximize") -> RowStudy:
    return RowStudy(RANGES, OWN, direction=direction, sampler=SamplerSettings(), log=log)  # type: ignore[arg-type]


def asked(count: int, log: list[dict[str, object]]) -> list[dict[str, object]]:
    found = study(log)
    for _ in range(count):
        found.tell(found.ask(), value=float(len(found.log)))
    return found.log


def test_the_first_point_is_the_rows_own() -> None:
    assert study([]).ask() == OWN


def test_a_search_that_goes_on_proposes_what_it_would_have() -> None:
    whole = asked(5, [])
    assert asked(3, whole[:2]) == whole
    points = [entry["params"]["distillation.learning_rate"] for entry in whole]
    assert len(set(points)) == 5 and all(0.01 <= point <= 1.0 for point in points)


def test_the_best_is_the_earliest_of_equals_and_never_a_failure() -> None:
    log = [{"params": {"x": place}, "value": value} for place, value in enumerate((None, 0.5, 0.9, 0.9))]
    assert study(log).best() == {"x": 2}
    assert study(log, "minimize").best() == {"x": 1}
    assert study([{"params": OWN, "value": None}]).best() is None


def test_a_failed_trial_does_not_stop_the_search() -> None:
    found = study([{"params": OWN, "value": None}])
    assert found.ask() != OWN

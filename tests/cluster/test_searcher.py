from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from ray.tune.search import Searcher

from dfkd.cluster.searcher import StudySearch
from dfkd.cluster.trial import TrialPlan
from dfkd.search.optuna_space import enqueue, open_study, stale_params
from dfkd.search.space import SearchSpace
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import to_dict
from dfkd.settings.search import (
    CategoricalChoices,
    IntegerRange,
    LogUniformRange,
    ParameterRange,
    SamplerSettings,
    SearchSettings,
    UniformRange,
)

Make = Callable[..., ExperimentSettings]
RATE, KIND, SOURCES = "distillation.learning_rate", "synthesis.contrast.kind", "synthesis.noise.num_sources"
SIX: dict[str, ParameterRange] = {
    KIND: CategoricalChoices(choices=("none", "bank")),
    SOURCES: IntegerRange(low=4, high=6),
}
METRIC = "probe/agreement"


@pytest.fixture
def storage() -> InMemoryStorage:
    return InMemoryStorage()


@pytest.fixture
def search(tiny_settings: Make, storage: InMemoryStorage) -> Callable[..., StudySearch]:
    """Make the searcher of a space, as a driver does when it starts or goes on."""

    def make(
        parameters: dict[str, ParameterRange] = SIX,
        *,
        sampler: Any = "tpe",
        seed: int = 0,
        first: Any = None,
        further: Any = (),
    ) -> StudySearch:
        plain = to_dict(tiny_settings())
        if "synthesis.noise.name" in parameters:
            plain["synthesis"]["noise"] = {}  # each kind has settings of its own
        settings = SearchSettings(name="a", experiment=plain, parameters=parameters, trials=8)
        plan = TrialPlan(space=SearchSpace(settings=settings, where="a test"), storage="/s", workers=1, image_every=0)
        directions = ["minimize" if mode == "min" else "maximize" for _, mode in further]
        study = open_study(storage, name="a", direction="maximize", further=directions)  # type: ignore[arg-type]
        return StudySearch(
            plan,
            metric=METRIC,
            mode="max",
            further=further,
            sampler=SamplerSettings(name=sampler, seed=seed),
            storage=storage,
            study_name="a",
            first=stale_params(study) if first is None else first,
        )

    return make


def report(epoch: int, value: float, *, finished: bool = False) -> dict[str, Any]:
    return {"epoch": epoch, METRIC: value, "finished": finished, "training_iteration": epoch + 1}


def run(searcher: StudySearch, name: str, value: float = 0.5) -> Any:
    """Run one trial to its end, and return its parameters."""
    params = searcher.suggest(name)
    if params != Searcher.FINISHED:
        searcher.on_trial_complete(name, report(2, value, finished=True))
    return params


def states(storage: InMemoryStorage) -> list[str]:
    return [trial.state.name for trial in optuna.load_study(study_name="a", storage=storage).trials]


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "gp"])
def test_a_finite_space_is_run_point_by_point_and_then_ends(
    search: Callable[..., StudySearch], storage: InMemoryStorage, sampler: str
) -> None:
    searcher = search(sampler=sampler)
    points = [run(searcher, f"trial {number}", value=0.9) for number in range(6)]
    assert len({tuple(point.items()) for point in points}) == 6
    assert run(searcher, "one too many") == Searcher.FINISHED
    assert states(storage).count("COMPLETE") == 6
    assert set(states(storage)) == {"COMPLETE", "FAIL"}


def test_trials_that_run_at_the_same_time_are_different(search: Callable[..., StudySearch]) -> None:
    searcher = search()
    points = [searcher.suggest(f"trial {number}") for number in range(7)]
    assert points.pop() == Searcher.FINISHED
    assert len({tuple(point.items()) for point in points}) == 6


def test_a_search_that_goes_on_repeats_no_point_but_one_that_was_cut_off(search: Callable[..., StudySearch]) -> None:
    before = search(seed=3)
    done = [run(before, f"trial {number}") for number in range(3)]
    lost = before.suggest("lost")
    again = search(seed=3)
    points = [run(again, f"again {number}") for number in range(3)]
    assert points[0] == lost
    assert len({tuple(point.items()) for point in done + points}) == 6
    assert run(again, "one too many") == Searcher.FINISHED
    assert run(search(), "and later") == Searcher.FINISHED


def test_a_lost_trial_is_run_again_by_a_search_that_goes_on_and_a_failed_one_is_not(
    search: Callable[..., StudySearch], storage: InMemoryStorage
) -> None:
    before = search()
    lost, failed = before.suggest("lost"), before.suggest("failed")
    before.on_trial_complete("lost", error=True)  # its process died too often
    before.on_trial_complete("failed", {METRIC: math.nan, "epoch": 1})  # its loss was not finite
    others = [run(before, f"trial {number}") for number in range(4)]
    assert run(before, "none is left") == Searcher.FINISHED
    again = search()
    assert run(again, "again") == lost
    assert run(again, "none is left") == Searcher.FINISHED
    assert run(search(), "and later") == Searcher.FINISHED
    assert failed not in [lost, *others]


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_a_search_that_goes_on_suggests_what_it_would_have(
    search: Callable[..., StudySearch], storage: InMemoryStorage, sampler: str
) -> None:
    """Also where TPE has left its ten random points behind."""
    space = {RATE: LogUniformRange(low=0.01, high=1.0), SOURCES: IntegerRange(low=1, high=6)}

    def trial(searcher: StudySearch, number: int) -> Any:
        point = searcher.suggest(f"trial {number}")
        searcher.on_trial_complete(f"trial {number}", report(2, point[RATE] / point[SOURCES], finished=True))
        return point

    whole = search(space, sampler=sampler, seed=5)
    points = [trial(whole, number) for number in range(14)]
    storage.delete_study(storage.get_study_id_from_name("a"))
    cut_off = search(space, sampler=sampler, seed=5)
    before = [trial(cut_off, number) for number in range(11)]
    lost = cut_off.suggest("lost")
    goes_on = search(space, sampler=sampler, seed=5)
    after = [trial(goes_on, number) for number in range(11, 14)]
    assert after[0] == lost
    assert before + after == points


def test_points_with_the_same_settings_are_the_same(search: Callable[..., StudySearch]) -> None:
    """A temperature of 20 and one of 20.0 are two choices, and one experiment."""
    searcher = search({"distillation.temperature": CategoricalChoices(choices=(20, 20.0, 4.0))})
    assert {run(searcher, "a")["distillation.temperature"], run(searcher, "b")["distillation.temperature"]} == {20, 4}
    assert run(searcher, "c") == Searcher.FINISHED


def test_values_that_do_not_go_together_are_passed_over(search: Callable[..., StudySearch]) -> None:
    kinds, noises = ("none", "fresh"), ("category_embedding", "gaussian")
    searcher = search(
        {KIND: CategoricalChoices(choices=kinds), "synthesis.noise.name": CategoricalChoices(choices=noises)}
    )
    points = [tuple(run(searcher, f"trial {number}").values()) for number in range(3)]
    assert set(points) == {(kind, noise) for kind in kinds for noise in noises} - {("fresh", "gaussian")}
    assert run(searcher, "d") == Searcher.FINISHED


def test_a_continuous_parameter_never_ends(search: Callable[..., StudySearch]) -> None:
    searcher = search(SIX | {RATE: UniformRange(low=0.1, high=0.2)})
    rates = {run(searcher, f"trial {number}")[RATE] for number in range(12)}
    assert len(rates) == 12


def test_a_range_of_one_number_has_one_point(search: Callable[..., StudySearch]) -> None:
    searcher = search({RATE: UniformRange(low=0.1, high=0.1)})
    assert [run(searcher, "a"), run(searcher, "b")] == [{RATE: 0.1}, Searcher.FINISHED]


def test_what_is_asked_first_is_run_first_and_enqueued_once(
    search: Callable[..., StudySearch], storage: InMemoryStorage
) -> None:
    default = {KIND: "bank", SOURCES: 4}
    search(first=[default])  # the driver dies before the first question
    searcher = search(first=[default, {KIND: "none", SOURCES: 6}])
    assert states(storage) == ["WAITING", "WAITING"]
    assert [run(searcher, "a"), run(searcher, "b")] == [default, {KIND: "none", SOURCES: 6}]
    assert states(storage) == ["COMPLETE", "COMPLETE"]


def test_a_trial_that_was_stopped_early_is_pruned_with_its_last_value(
    search: Callable[..., StudySearch], storage: InMemoryStorage
) -> None:
    searcher = search()
    searcher.suggest("a")
    searcher.on_trial_result("a", report(0, 0.2))
    searcher.on_trial_result("a", report(1, 0.3))
    searcher.on_trial_result("a", report(1, 0.3))  # again, after its process was lost
    searcher.on_trial_complete("a", report(2, 0.4))  # Ray Tune tells the searcher of a stop only here
    (trial,) = optuna.load_study(study_name="a", storage=storage).trials
    assert (trial.state, trial.value) == (TrialState.PRUNED, 0.4)
    assert trial.intermediate_values == {0: 0.2, 1: 0.3, 2: 0.4}


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (None, True),
        ({"failure": "epoch 1: a loss is nan", METRIC: math.nan}, False),
        (report(2, math.nan, finished=True), False),
    ],
    ids=["lost", "failed", "objective not a number"],
)
def test_what_has_no_value_is_a_failure(
    search: Callable[..., StudySearch], storage: InMemoryStorage, result: Any, error: bool
) -> None:
    searcher = search()
    point = searcher.suggest("a")
    searcher.on_trial_result("a", report(0, 0.2))
    searcher.on_trial_complete("a", result, error=error)
    assert states(storage) == ["FAIL"]
    again = stale_params(open_study(storage, name="a", direction="maximize"))
    assert again == ([point] if error else [])  # what failed by itself would fail again


def test_a_point_that_was_proposed_again_while_it_ran_is_run_after_a_crash(
    search: Callable[..., StudySearch], storage: InMemoryStorage
) -> None:
    """The second proposal was refused, which said nothing of the first."""
    point = {KIND: "bank", SOURCES: 5}
    crashed = search(first=[point])
    assert crashed.suggest("a") == point
    enqueue(crashed._ot_study, [point])
    other = crashed.suggest("b")
    assert other != point and "FAIL" in states(storage)
    resumed = search()
    assert [resumed.suggest("c"), resumed.suggest("d")] == [point, other]


SIZE = ("further/size", "min")


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "gp", "nsga2"])
def test_several_objectives_reach_optuna_at_a_trials_end(
    search: Callable[..., StudySearch], storage: InMemoryStorage, sampler: str
) -> None:
    searcher = search(further=[SIZE], sampler=sampler)
    assert searcher.metric == METRIC  # what Ray Tune looks for in every report
    for number in range(5):
        name = f"trial {number}"
        searcher.suggest(name)
        searcher.on_trial_result(name, report(0, 0.1))  # without the size, which only the last report has
        searcher.on_trial_complete(name, report(2, 0.5 + number / 10, finished=True) | {SIZE[0]: 100.0 * number})
    study = optuna.load_study(study_name="a", storage=storage)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    assert [trial.values for trial in complete] == [[0.5 + number / 10, 100.0 * number] for number in range(5)]
    assert len(study.best_trials) == 5


def test_a_further_objective_that_is_not_there_is_a_failure(
    search: Callable[..., StudySearch], storage: InMemoryStorage
) -> None:
    searcher = search(further=[SIZE])
    searcher.suggest("a")
    searcher.on_trial_complete("a", report(2, 0.5, finished=True))
    assert states(storage) == ["FAIL"]
    with pytest.raises(ValueError, match="expected one to maximize, found one to maximize, minimize"):
        open_study(storage, name="a", direction="maximize")

import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from dfkd.search.optuna_space import (
    distributions,
    enqueue,
    make_sampler,
    open_study,
    random_points,
    reported_values,
    settled_params,
    stale_params,
    study_storage,
)
from dfkd.search.space import load_search_space
from dfkd.settings.search import SamplerSettings

SPACE = """
name: digits-student
experiment:
  dataset: {crop_padding: 1, horizontal_flip: false}
  teacher: {architecture: digits_teacher}
  student: {architecture: digits_student}
parameters:
  synthesis.weights.adversarial: {type: log_uniform, low: 0.3, high: 3.0}
  distillation.momentum: {type: uniform, low: 0.5, high: 0.95}
  synthesis.noise.num_sources: {type: integer, low: 1, high: 6}
  synthesis.contrast.kind: {type: categorical, choices: [none, bank]}
trials: 4
"""


@pytest.fixture
def space(tmp_path: Path) -> Any:
    (tmp_path / "space.yaml").write_text(SPACE)
    return load_search_space(tmp_path / "space.yaml")


def test_every_range_becomes_the_distribution_of_its_kind(space: Any) -> None:
    assert distributions(space) == {
        "synthesis.weights.adversarial": FloatDistribution(0.3, 3.0, log=True),
        "distillation.momentum": FloatDistribution(0.5, 0.95),
        "synthesis.noise.num_sources": IntDistribution(1, 6),
        "synthesis.contrast.kind": CategoricalDistribution(("none", "bank")),
    }


@pytest.mark.parametrize("name", ["tpe", "random", "qmc", "gp"])
def test_every_sampler_proposes_what_resolves_and_repeats_itself_with_its_seed(space: Any, name: Any) -> None:
    def proposals(seed: int) -> list[dict[str, Any]]:
        sampler = make_sampler(SamplerSettings(name=name, seed=seed))
        study = optuna.create_study(sampler=sampler, direction="maximize")
        study.enqueue_trial(space.defaults())
        for number in range(4):
            study.tell(study.ask(distributions(space)), float(number))
        return [trial.params for trial in study.trials]

    first = proposals(0)
    assert first[0] == space.defaults()
    for params in first:
        space.resolve(params)
    assert proposals(0) == first
    assert proposals(1)[1:] != first[1:]


def test_tpe_learns_after_as_many_random_trials_as_it_is_told(space: Any) -> None:
    """Whatever came before the sixth trial, random draws give the same sixth; one that learns does not."""

    def sixth(startup_trials: int, values: list[float]) -> dict[str, Any]:
        sampler = make_sampler(SamplerSettings(startup_trials=startup_trials))
        study = optuna.create_study(sampler=sampler, direction="maximize")
        for value in values:
            study.tell(study.ask(distributions(space)), value)
        return study.ask(distributions(space)).params

    rising, falling = [0.0, 1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0, 0.0]
    assert sixth(10, rising) == sixth(10, falling)
    assert sixth(3, rising) != sixth(3, falling)


def test_the_defaults_are_taken_as_the_first_trial_without_a_warning(space: Any, tmp_path: Path) -> None:
    study = open_study(tmp_path / "study.db", name="a", direction="maximize")
    study.enqueue_trial(space.defaults())
    assert study.ask(distributions(space)).params == space.defaults()


def test_a_study_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "study.db"
    study = open_study(path, name="a", direction="maximize")
    study.tell(study.ask({"x": FloatDistribution(0, 1)}), 0.5)
    again = open_study(path, name="a", direction="maximize")
    assert [trial.value for trial in again.trials] == [0.5]
    assert open_study(path, name="b", direction="maximize").trials == []


def test_a_study_of_the_other_direction_is_refused(tmp_path: Path) -> None:
    open_study(tmp_path / "study.db", name="a", direction="minimize")
    with pytest.raises(ValueError, match="study 'a': expected one to maximize, found one to minimize"):
        open_study(tmp_path / "study.db", name="a", direction="maximize")


def test_trials_of_a_dead_driver_are_closed_and_their_parameters_returned_once(tmp_path: Path) -> None:
    path, x = tmp_path / "study.db", {"x": FloatDistribution(0, 1)}
    study = open_study(path, name="a", direction="maximize")
    complete, running, failed = study.ask(x), study.ask(x), study.ask(x)
    study.tell(complete, 0.5)
    study.tell(failed, state=TrialState.FAIL)

    resumed = open_study(path, name="a", direction="maximize")
    assert [trial.state for trial in resumed.trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL]
    assert stale_params(resumed) == [running.params]  # not of the one that failed by itself

    resumed.enqueue_trial(running.params)
    assert stale_params(resumed) == []
    resumed.tell(resumed.ask(x), 0.1)
    again = open_study(path, name="a", direction="maximize")
    assert stale_params(again) == []
    assert [trial.number for trial in again.get_trials(states=[TrialState.COMPLETE])] == [0, 3]


def test_a_trial_that_dies_twice_is_returned_again_but_not_twice(tmp_path: Path) -> None:
    path, x = tmp_path / "study.db", {"x": FloatDistribution(0, 1)}
    params = open_study(path, name="a", direction="maximize").ask(x).params
    for _ in range(2):
        study = open_study(path, name="a", direction="maximize")
        assert stale_params(study) == [params]
        study.enqueue_trial(params)
        study.ask(x)
    assert stale_params(open_study(path, name="a", direction="maximize")) == [params]


def test_only_trials_that_ended_by_themselves_are_settled(tmp_path: Path) -> None:
    path, x = tmp_path / "study.db", {"x": FloatDistribution(0, 1)}
    study = open_study(path, name="a", direction="maximize")
    complete, running, failed = study.ask(x), study.ask(x), study.ask(x)
    study.tell(complete, 0.5)
    study.tell(failed, state=TrialState.FAIL)
    study.enqueue_trial({"x": 0.5})
    assert settled_params(study) == [complete.params, failed.params]
    again = open_study(path, name="a", direction="maximize")
    assert settled_params(again) == [complete.params, failed.params]
    assert stale_params(again) == [running.params]


def test_a_point_that_waits_is_not_enqueued_twice() -> None:
    study, x = optuna.create_study(), {"x": FloatDistribution(0, 1)}
    enqueue(study, [{"x": 0.5}, {"x": 0.25}])
    enqueue(study, [{"x": 0.25}, {"x": 0.75}])
    assert [study.ask(x).params["x"] for _ in range(3)] == [0.5, 0.25, 0.75]
    enqueue(study, [{"x": 0.5}])  # that one runs; whether it may run again is for others to say
    assert study.ask(x).params["x"] == 0.5


def test_random_points_are_every_point_of_a_finite_space_once() -> None:
    space = {"n": IntDistribution(1, 3), "kind": CategoricalDistribution(("none", "bank", None))}
    points = [(point["n"], point["kind"]) for point in random_points(space, seed=0)]
    assert len(points) == 9
    assert set(points) == {(n, kind) for n in (1, 2, 3) for kind in ("none", "bank", None)}
    assert points != [(point["n"], point["kind"]) for point in random_points(space, seed=1)]


def test_random_points_lie_in_their_ranges() -> None:
    space = {"rate": FloatDistribution(1e-3, 1e3, log=True), "x": FloatDistribution(-1, 1), "n": IntDistribution(0, 9)}
    points = [next(random_points(space, seed)) for seed in range(200)]
    assert all(space[name]._contains(value) for point in points for name, value in point.items())
    below_one = sum(point["rate"] < 1 for point in points)
    assert 60 < below_one < 140  # half of the orders of magnitude
    huge = {"n": IntDistribution(0, 10**12)}
    assert 0 <= next(random_points(huge, 0))["n"] <= 10**12


def test_a_storage_can_be_shared_and_pickled(tmp_path: Path) -> None:
    storage = study_storage(tmp_path / "study.db")
    study = open_study(storage, name="a", direction="maximize")
    study.tell(study.ask(), 1.0)
    copy = pickle.loads(pickle.dumps(storage))
    assert [trial.value for trial in optuna.load_study(study_name="a", storage=copy).trials] == [1.0]


def test_a_file_that_is_no_study_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("no database" * 1000)
    with pytest.raises(OSError, match=r"study.db: expected a file in which Optuna can keep its trials.*not a database"):
        study_storage(tmp_path / "study.db")


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        study_storage(tmp_path / "file" / "study.db")


def test_what_every_trial_reported_is_found_again(tmp_path: Path) -> None:
    study = open_study(tmp_path / "optuna.db", name="a", direction="maximize")
    study.enqueue_trial({"rate": 0.25})
    trial = study.ask({"rate": FloatDistribution(0.1, 0.3)})
    trial.report(0.5, 0)
    trial.report(0.75, 4)
    again = open_study(tmp_path / "optuna.db", name="a", direction="maximize")  # which closes the trial as stale
    assert reported_values(again) == [({"rate": 0.25}, {0: 0.5, 4: 0.75})]

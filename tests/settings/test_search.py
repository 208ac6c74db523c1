from typing import Any

import pytest

from dfkd.settings.experiment import DatasetSettings, ExperimentSettings, StudentSettings, TeacherSettings
from dfkd.settings.search import (
    OBJECTIVES,
    CategoricalChoices,
    EarlyStoppingSettings,
    IntegerRange,
    LogUniformRange,
    ObjectiveSettings,
    SamplerSettings,
    SearchSettings,
    TrackingSettings,
    UniformRange,
)

RANGE = {"distillation.learning_rate": UniformRange(low=0.1, high=0.2)}


@pytest.mark.parametrize("kind", [UniformRange, LogUniformRange, IntegerRange])
def test_a_range_whose_ends_are_exchanged_is_an_error(kind: type) -> None:
    with pytest.raises(ValueError, match="low: 3 lies above high: 2"):
        kind(low=3, high=2)
    assert kind(low=2, high=2).low == 2


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_a_logarithmic_range_begins_above_zero(low: float) -> None:
    with pytest.raises(ValueError, match="low: a logarithmic range must begin above 0"):
        LogUniformRange(low=low, high=1.0)


def test_choices_are_some_and_different() -> None:
    with pytest.raises(ValueError, match="choices: expected at least one"):
        CategoricalChoices(choices=())
    with pytest.raises(ValueError, match="choices: 'a' stands twice"):
        CategoricalChoices(choices=("a", "b", "a"))
    assert CategoricalChoices(choices=(1, 1.0, True, "1", None)).choices[2] is True


@pytest.mark.parametrize("metric", OBJECTIVES)
def test_the_metric_implies_the_direction(metric: Any) -> None:
    objective = ObjectiveSettings(metric=metric)
    assert objective.goal == ("minimize" if metric == "kl" else "maximize")
    assert ObjectiveSettings(metric=metric, direction=objective.goal).goal == objective.goal
    wrong: Any = "maximize" if metric == "kl" else "minimize"
    with pytest.raises(ValueError, match=f"direction: '{metric}' is better the .* expected '{objective.goal}'"):
        ObjectiveSettings(metric=metric, direction=wrong)


@pytest.mark.parametrize(
    ("metric", "needs"),
    [("agreement", "no real"), ("kl", "no real"), ("agreement_real", "unlabelled"), ("val_accuracy", "labelled")],
)
def test_an_objective_says_what_data_it_needs(metric: Any, needs: str) -> None:
    assert ObjectiveSettings(metric=metric).needs.startswith(needs)


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "a b", "..", "@x", "-x", "é"])
def test_a_name_that_the_registry_refuses_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="name: expected only letters"):
        SearchSettings(name=name, experiment={}, parameters=dict(RANGE), trials=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0}, "trials: expected a number of at least 1"),
        ({"parameters": {}}, "parameters: expected at least one range"),
        ({"concurrency": 0}, "concurrency: expected"),
        ({"workers_check_epochs": 0}, "workers_check_epochs: expected"),
        ({"tie_margin": -0.1}, "tie_margin: expected"),
    ],
)
def test_numbers_of_a_search_lie_in_their_ranges(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchSettings(
            **{"name": "digits_2.student-a", "experiment": {}, "parameters": dict(RANGE), "trials": 1} | changes
        )


def test_halving_keeps_fewer_trials_than_it_had() -> None:
    with pytest.raises(ValueError, match="reduction_factor"):
        EarlyStoppingSettings(reduction_factor=1)


def test_a_sensitive_profile_has_no_previews_whatever_stands_beside_it() -> None:
    assert TrackingSettings(image_every=2).previews_every(100) == 2
    assert TrackingSettings(profile="sensitive", image_every=2).previews_every(100) == 0
    assert TrackingSettings(images=False).previews_every(100) == 0
    assert not TrackingSettings(images=False).is_sensitive


@pytest.mark.parametrize(("epochs", "every"), [(1, 1), (13, 1), (20, 1), (21, 2), (320, 16)])
def test_a_short_run_has_a_preview_an_epoch_and_a_long_one_twenty(epochs: int, every: int) -> None:
    assert TrackingSettings().previews_every(epochs) == every


def test_a_sensitive_profile_tells_numbers_in_place_of_class_names() -> None:
    settings = ExperimentSettings(
        dataset=DatasetSettings(class_names=("cat", "dog")),
        teacher=TeacherSettings(weights="t.pt", class_names=("cat", "dog")),
        student=StudentSettings(architecture="resnet8"),
    )
    told = TrackingSettings(profile="sensitive").told(settings)
    assert told.dataset.class_names == told.teacher.class_names == ("class 0", "class 1")
    assert TrackingSettings().told(settings) == settings


def test_a_sampler_says_how_many_of_its_trials_are_drawn_at_random() -> None:
    assert SamplerSettings(name="random").in_words(5) == "random"
    assert SamplerSettings(name="gp", startup_trials=4).in_words(5) == "gp, which draws its first 4 at random"
    assert SamplerSettings(name="nsga2", population=6).in_words(6).endswith("first 6 at random and so all of these")
    assert SamplerSettings().in_words(10).endswith("draws its first 10 at random and so all of these")
    assert SamplerSettings(startup_trials=3).in_words(10).endswith("draws its first 3 at random")
    with pytest.raises(ValueError, match="startup_trials: expected a number of at least 1"):
        SamplerSettings(startup_trials=0)


def test_the_seeds_of_repeats_are_seeds_too() -> None:
    known = {"name": "a", "parameters": dict(RANGE), "trials": 3}
    SearchSettings(**known, experiment={"seed": 2**32 - 1}, seed_repeats=0)
    with pytest.raises(ValueError, match="seed_repeats: the last one's seed: expected a seed from 0"):
        SearchSettings(**known, experiment={"seed": 2**32 - 1}, seed_repeats=1)
    for wrong in (-1, 2**40):  # the experiment's own check tells that, once
        SearchSettings(**known, experiment={"seed": wrong}, seed_repeats=1)

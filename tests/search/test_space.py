import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from dfkd.config import SettingsError, merge
from dfkd.search.space import SearchSpace, load_search_space
from dfkd.settings.synthesis import CategoryAwareSettings

DIGITS: dict[str, Any] = {
    "name": "digits-student",
    "experiment": {
        "dataset": {"name": "digits", "crop_padding": 1, "horizontal_flip": False},
        "teacher": {"architecture": "digits_teacher"},
        "student": {"architecture": "digits_student"},
        "schedule": "nayer_100",
    },
    "parameters": {
        "synthesis.weights.adversarial": {"type": "log_uniform", "low": 0.3, "high": 3.0},
        "distillation.learning_rate": {"type": "uniform", "low": 0.05, "high": "4e-1"},
        "synthesis.noise.num_sources": {"type": "integer", "low": 1, "high": 6},
        "synthesis.contrast.kind": {"type": "categorical", "choices": ["none", "bank"]},
    },
    "trials": 8,
}
DEFAULTS = {
    "synthesis.weights.adversarial": 1.33,
    "distillation.learning_rate": 0.2,
    "synthesis.noise.num_sources": 4,
    "synthesis.contrast.kind": "bank",
}


def load(folder: Path, changes: dict[str, Any], *overrides: str) -> SearchSpace:
    path = folder / "digits.yaml"
    path.write_text(yaml.safe_dump(merge(DIGITS, changes)))
    return load_search_space(path, overrides)


def test_the_first_trial_is_the_fixed_part_as_it_stands(tmp_path: Path) -> None:
    space = load(tmp_path, {})
    assert space.defaults() == DEFAULTS
    assert space.resolve(space.defaults()) == space.resolve({})


def test_defaults_have_the_type_of_their_parameter(tmp_path: Path) -> None:
    integer_on_float = {"synthesis.weights.batch_norm": {"type": "integer", "low": 1, "high": 20}}
    choices_on_float = {"distillation.temperature": {"type": "categorical", "choices": [4, 20]}}
    defaults = load(tmp_path, {"parameters": integer_on_float | choices_on_float}).defaults()
    assert (repr(defaults["synthesis.weights.batch_norm"]), repr(defaults["distillation.temperature"])) == ("10", "20")


def test_parameters_resolve_to_a_complete_experiment(tmp_path: Path) -> None:
    space = load(tmp_path, {})
    settings = space.resolve({"synthesis.noise.num_sources": 2, "distillation.learning_rate": 0.07})
    assert isinstance(settings.synthesis, CategoryAwareSettings)
    assert settings.synthesis.noise.num_sources == 2  # type: ignore[union-attr]
    assert settings.distillation.learning_rate == 0.07
    assert settings.distillation.epochs == 100  # of the schedule
    assert space.resolve({}).distillation.learning_rate == 0.2


def test_a_parameter_that_is_not_searched_cannot_be_resolved(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match="is no parameter of this search. Did you mean 'distillation.learning_rate'"
    ):
        load(tmp_path, {}).resolve({"distillation.learning_rte": 0.1})


def test_an_override_changes_the_fixed_part_and_with_it_the_default(tmp_path: Path) -> None:
    space = load(tmp_path, {}, "distillation.learning_rate=1e-1", "dataset.title=mine")
    assert space.base["dataset"]["title"] == "mine"
    assert space.defaults()["distillation.learning_rate"] == 0.1
    with pytest.raises(SettingsError, match="experiment.dataset.titel: unknown setting. Did you mean 'title'"):
        load(tmp_path, {}, "dataset.titel=mine")


def test_only_overrides_that_may_make_other_students_count_as_changes(tmp_path: Path) -> None:
    moved = ("dataset.title=mine", "device=cpu", "seed=3", "dataset.path=/elsewhere")
    assert load(tmp_path, {}, *moved).changed == ()
    assert load(tmp_path, {}, *moved, "distillation.epochs=3", "student.architecture=resnet8").changed == (
        "distillation.epochs",
        "student.architecture",
    )


def test_a_schedule_can_be_searched(tmp_path: Path) -> None:
    parameters = {"schedule": {"type": "categorical", "choices": ["nayer_100", "nayer_300"]}}
    space = load(tmp_path, {"parameters": parameters})
    assert space.defaults()["schedule"] == "nayer_100"
    assert space.resolve({"schedule": "nayer_300"}).distillation.epochs == 300


def one(path: str, **parameter: object) -> dict[str, Any]:
    return {"parameters": {path: parameter}}


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"trails": 3}, "trails: unknown setting. Did you mean 'trials'?"),
        ({"trials": "many"}, "trials: expected a whole number, got 'many'."),
        ({"name": "a/b"}, "name: expected only letters"),
        ({"objective": {"metric": "agrement"}}, "objective.metric: 'agrement' is unknown. Did you mean 'agreement'?"),
        ({"objective": {"metric": "kl", "direction": "maximize"}}, "objective.direction: 'kl' is better the smaller"),
        ({"sampler": {"name": "cma"}}, "sampler.name: 'cma' is unknown. Valid: tpe, random, qmc, gp, nsga2."),
        ({"promotion": "auto"}, "promotion: 'auto' is unknown. Did you mean 'automatic'?"),
        ({"tracking": {"images": "sometimes"}}, "tracking.images: expected true or false, got 'sometimes'."),
        (
            {"early_stopping": {"grace_epoch": 1}},
            "early_stopping.grace_epoch: unknown setting. Did you mean 'grace_epochs'",
        ),
        ({"experiment": None}, "experiment: expected a mapping"),
        (
            {"experiment": {"synthesis": {"nois": {}}}},
            "experiment.synthesis.nois: method 'cae' has no setting 'nois'. Did",
        ),
        (
            one("distillation.learning_rte", type="uniform", low=0.1, high=0.2),
            "parameters.distillation.learning_rte: unknown setting. Did you mean 'learning_rate'?",
        ),
        (
            one("distilation.learning_rate", type="uniform", low=0.1, high=0.2),
            "parameters.distilation: unknown setting. Did you mean 'distillation'?",
        ),
        (
            one("synthesis.noise.width", type="integer", low=10, high=20),
            "parameters.synthesis.noise.width: name 'category_embedding' has no setting 'width'.",
        ),
        (
            one("synthesis.noise.num_sources", type="integer", low=0, high=6),
            "parameters.synthesis.noise.num_sources: expected a number of at least 1, got 0.",
        ),
        (
            one("synthesis.contrast.kind", type="categorical", choices=["none", "bnk", "bank"]),
            "parameters.synthesis.contrast.kind: 'bnk' is unknown. Did you mean 'bank'?",
        ),
        (
            one("synthesis.batch_size", type="categorical", choices=[2, 200]),
            "parameters.synthesis.batch_size: expected at least one image a noise source (4), got 2.",
        ),
        (
            one("synthesis.generator_steps", type="uniform", low=10, high=40),
            "expected a whole number, got 21.45898. Use 'type: integer'.",
        ),
        (
            one("synthesis.noise.num_sources", type="integer", low=1.5, high=6),
            "parameters.synthesis.noise.num_sources.low: expected a whole number, got 1.5.",
        ),
        (
            one("distillation.learning_rate", type="uniform", low=0.5, high=0.1),
            "parameters.distillation.learning_rate.low: 0.5 lies above high: 0.1; exchange them.",
        ),
        (
            one("distillation.learning_rate", type="log_uniform", low=0, high=0.4),
            "parameters.distillation.learning_rate.low: a logarithmic range must begin above 0, got 0.0.",
        ),
        (
            one("distillation.learning_rate", type="uniform", low="small", high=0.4),
            "parameters.distillation.learning_rate.low: expected a number, got 'small'.",
        ),
        (
            one("distillation.learning_rate", type="loguniform", low=0.1, high=0.4),
            "parameters.distillation.learning_rate.type: 'loguniform' is unknown. Did you mean 'log_uniform'?",
        ),
        (
            one("distillation.momentum", low=0.1, high=0.9),
            "parameters.distillation.momentum.type: is missing. Valid: unif",
        ),
        (one("distillation.momentum", type="uniform", low=0.1), "parameters.distillation.momentum.high: is missing"),
        (one("distillation.momentum", type="uniform", low=0.1, high=1.5), "expected a fraction in [0, 1), got 1.5."),
        (one("synthesis.contrast.kind", type="categorical", choices=[]), "choices: expected at least one, got none."),
        (
            one("synthesis.betas", type="categorical", choices=[[0.5, 0.9]]),
            "synthesis.betas.choices: expected a list of",
        ),
        (
            one("distillation.learning_rate", type="uniform", low=0.01, high=0.1),
            "parameters.distillation.learning_rate: the default 0.2 lies outside [0.01, 0.1]. Widen the range",
        ),
        (
            one("synthesis.contrast.kind", type="categorical", choices=["none", "fresh"]),
            "parameters.synthesis.contrast.kind: the default 'bank' is none of 'none', 'fresh'.",
        ),
        (
            one("dataset.image_size", type="integer", low=8, high=16),
            "parameters.dataset.image_size: all trials of a search share 'dataset'",
        ),
        (one("workers", type="integer", low=1, high=2), "parameters.workers: all trials of a search share 'workers'"),
        (one("seed", type="integer", low=1, high=2), "parameters.seed: all trials of a search share 'seed'"),
    ],
)
def test_a_mistake_in_the_file_is_told_by_its_path(changes: dict[str, Any], fragment: str, tmp_path: Path) -> None:
    if "experiment" in changes and changes["experiment"]:
        changes = merge({"experiment": {"synthesis": {"method": "cae"}}}, changes)
    with pytest.raises(SettingsError) as error:
        load(tmp_path, changes)
    assert str(tmp_path / "digits.yaml") in str(error.value)
    assert fragment in str(error.value)
    assert len(error.value.problems) == 1


WORKERS = {"workers": 2, "synthesis": {"batch_size": 40}, "distillation": {"batch_size": 32}}


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        (
            {"experiment": WORKERS | {"workers": 3}},
            "experiment.distillation.batch_size: 32 images do not split evenly over 3 workers. Take a multiple of 3",
        ),
        (
            {"experiment": WORKERS | {"workers": 4, "synthesis": {"batch_size": 42}}},
            "experiment.synthesis.batch_size: 42 images do not split evenly over 4 workers.",
        ),
        (
            {"experiment": WORKERS} | one("distillation.batch_size", type="integer", low=16, high=64),
            "parameters.distillation.batch_size: 17 images do not split evenly over 2 workers.",
        ),
        (
            {"experiment": WORKERS} | one("synthesis.batch_size", type="categorical", choices=[40, 81]),
            "parameters.synthesis.batch_size: 81 images do not split evenly over 2 workers.",
        ),
    ],
)
def test_batches_split_evenly_over_the_workers(changes: dict[str, Any], fragment: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        load(tmp_path, changes)
    assert fragment in str(error.value)


def test_corners_show_how_long_trials_can_be(tmp_path: Path) -> None:
    parameters = {"schedule": {"type": "categorical", "choices": ["nayer_100", "nayer_300"]}}
    space = load(tmp_path, {"parameters": parameters})
    epochs = [settings.distillation.epochs for settings in space.corner_settings()]
    assert max(epochs) == 300
    assert len(epochs) == 3 + 3 + 4 + 2 + 2  # two real ranges, a whole number, two lists of choices


def test_problems_of_the_search_and_of_the_experiment_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        load(tmp_path, {"trails": 3, "experiment": {"sed": 1}})
    assert [problem.split(":")[0] for problem in error.value.problems] == ["trails", "experiment.sed"]


def test_the_key_tells_whether_trials_can_be_compared(tmp_path: Path) -> None:
    key = load(tmp_path, {}).key
    assert key == load(tmp_path, {"trials": 99, "sampler": {"seed": 5}, "concurrency": 2, "tie_margin": 0.1}).key
    assert key == load(tmp_path, {"objective": {"metric": "agreement", "direction": "maximize"}}).key
    assert key == load(tmp_path, {"experiment": {"seed": 0}}).key  # the default, written out
    for other in (
        {"experiment": {"seed": 1}},
        {"objective": {"metric": "kl"}},
        {"early_stopping": {}},
        one("distillation.learning_rate", type="uniform", low=0.06, high=0.4),
    ):
        assert key != load(tmp_path, other).key


def test_a_mistake_is_told_within_two_seconds_and_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    load(tmp_path, {})
    path = tmp_path / "digits.yaml"
    path.write_text(path.read_text().replace("choices", "choises"))
    program = (
        "import sys\n"
        "from dfkd.search.space import load_search_space\n"
        "try:\n"
        f"    load_search_space({str(path)!r})\n"
        "except ValueError as error:\n"
        "    print(error)\n"
        "print(sorted({'torch', 'ray', 'mlflow', 'optuna', 'numpy'} & set(sys.modules)))\n"
    )
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - begin
    assert "Did you mean 'choices'?" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
    assert seconds < 2.0


def test_a_space_survives_the_way_to_a_trial(tmp_path: Path) -> None:
    space = load(tmp_path, {})
    copy = pickle.loads(pickle.dumps(space))
    assert copy == space and copy.key == space.key


def test_workers_and_seeds_are_run_for_comparison_where_the_search_does_not_forbid_it(tmp_path: Path) -> None:
    assert load(tmp_path, {}).reserved_trials == 2
    assert load(tmp_path, {"seed_repeats": 3}).reserved_trials == 4
    assert load(tmp_path, {"seed_repeats": 0, "workers_check": False}).reserved_trials == 0
    assert load(tmp_path, {"experiment": {"workers": 2}}).reserved_trials == 1

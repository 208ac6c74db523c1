from typing import Any

import pytest

from dfkd.config import SettingsError, apply_schedule, experiment_settings, load_settings, merge, to_dict
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import flatten
from dfkd.settings.schedules import SCHEDULES
from dfkd.settings.synthesis import (
    CategoryAwareSettings,
    DaflSettings,
    DeepInversionSettings,
    GaussianNoise,
    NayerSettings,
    RandomNoiseSettings,
)

DIGITS: dict[str, Any] = {
    "dataset": {"name": "digits", "crop_padding": 1, "horizontal_flip": False},
    "teacher": {"architecture": "digits_teacher"},
    "student": {"architecture": "digits_student"},
}


def experiment(changes: dict[str, Any]) -> ExperimentSettings:
    return experiment_settings(merge(DIGITS, changes), "digits.yaml")


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"sed": 1}, "digits.yaml: sed: unknown setting. Did you mean 'seed'?"),
        ({"seed": -1}, "seed: expected a seed from 0 to 4294967295, got -1."),
        ({"dataset": {"name": "digit"}}, "dataset.name: 'digit' is unknown. Did you mean 'digits'?"),
        ({"dataset": {"name": "parquet"}}, "dataset.path: dataset 'parquet' needs a folder, got none."),
        ({"dataset": {"channels": 2}}, "dataset.channels: 2 is unknown. Valid: 1, 3."),
        (
            {"student": {"architecture": "resnet_8"}},
            "student.architecture: 'resnet_8' is unknown. Did you mean 'resnet8'",
        ),
        ({"student": None}, "student: expected a mapping"),
        (
            {"synthesis": {"method": "ca"}},
            "synthesis.method: 'ca' is unknown. Did you mean 'cae'? Valid: cae, ",
        ),
        (
            {"synthesis": {"noise": {"name": "gausian"}}},
            "synthesis.noise.name: 'gausian' is unknown. Did you mean 'gaussian'?",
        ),
        (
            {"synthesis": {"noise": {"name": "gaussian", "num_sources": 2}}},
            "synthesis.noise.num_sources: name 'gaussian' has no setting 'num_sources'. Valid: name, width.",
        ),
        (
            {"synthesis": {"method": "random_noise", "weights": {"one_hot": 1}}},
            "synthesis.weights: method 'random_noise' has no setting 'weights'.",
        ),
        ({"synthesis": {"noise": {"num_sources": 0}}}, "synthesis.noise.num_sources: expected a number of at least 1"),
        (
            {"synthesis": {"noise": {"distributions": ["lapalce"]}}},
            "synthesis.noise.distributions: 'lapalce' is unknown. Did you mean 'laplace'?",
        ),
        (
            {"synthesis": {"weights": {"adverserial": 1}}},
            "synthesis.weights.adverserial: unknown setting. Did you mean 'adv",
        ),
        (
            {"synthesis": {"contrast": {"kind": "bnk"}}},
            "synthesis.contrast.kind: 'bnk' is unknown. Did you mean 'bank'?",
        ),
        (
            {"synthesis": {"contrast": {"kind": "fresh"}, "noise": {"name": "gaussian"}}},
            "synthesis.contrast.kind: 'fresh' pairs new images by the class that they are made for",
        ),
        ({"synthesis": {"class_prior": [0.5, 0.2]}}, "synthesis.class_prior: shares must sum to 1, got 0.7."),
        ({"synthesis": {"class_prior": "techer"}}, "Did you mean 'teacher'?"),
        ({"distillation": {"epochs": 0}}, "distillation.epochs: expected a number of at least 1, got 0."),
        ({"distillation": {"epochs": True}}, "distillation.epochs: expected a whole number, got True."),
        ({"distillation": {"learning_rate": float("nan")}}, "distillation.learning_rate: expected a number, got nan."),
        ({"tasks": ["acuracy"]}, "tasks: 'acuracy' is unknown. Did you mean 'accuracy'?"),
        ({"workers": 600}, "digits.yaml: workers: 600 workers cannot share a batch of 512 images."),
        ({"schedule": "cpu_smal"}, "schedule: 'cpu_smal' is unknown. Did you mean 'cpu_small'? Valid: nayer_100"),
        ({"schedule": 3}, "schedule: 3 is unknown."),
        ({"schedul": "cpu_small"}, "schedul: unknown setting. Did you mean 'schedule'?"),
    ],
)
def test_a_mistake_is_told_by_its_path_and_without_noise(changes: dict[str, Any], fragment: str) -> None:
    with pytest.raises(SettingsError) as error:
        experiment(changes)
    assert fragment in str(error.value)
    assert len(error.value.problems) == 1
    assert "pydantic" not in str(error.value) and "http" not in str(error.value)


def test_an_unknown_schedule_does_not_hide_the_other_problems() -> None:
    with pytest.raises(SettingsError) as error:
        experiment({"schedule": "x", "sed": 1})
    assert [problem.split(":")[0] for problem in error.value.problems] == ["schedule", "sed"]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_stands_under_the_experiments_own_values(name: str) -> None:
    settings = experiment({"schedule": name, "distillation": {"epochs": 7}})
    expected = flatten(SCHEDULES[name]) | {"distillation.epochs": 7}
    expected.setdefault("synthesis.method", "cae")
    assert flatten(to_dict(settings)).items() >= expected.items()


def test_a_method_takes_from_a_schedule_only_what_it_has() -> None:
    settings = experiment({"schedule": "cpu_small", "synthesis": {"method": "random_noise"}})
    assert settings.synthesis == RandomNoiseSettings()
    assert settings.distillation.epochs == SCHEDULES["cpu_small"]["distillation"]["epochs"]


def test_a_method_without_a_bank_takes_only_the_students_part_of_a_general_schedule() -> None:
    settings = experiment({"schedule": "cpu_small", "synthesis": {"method": "dafl"}})
    assert settings.synthesis == DaflSettings()
    assert settings.distillation.epochs == SCHEDULES["cpu_small"]["distillation"]["epochs"]


def test_a_preset_of_another_method_is_refused_with_those_that_can_be_taken() -> None:
    with pytest.raises(SettingsError) as error:
        experiment({"schedule": "nayer_tiny_imagenet", "synthesis": {"method": "cae"}})
    assert "'nayer_tiny_imagenet' is a preset of the method 'nayer', whose synthesis says nothing to 'cae'" in str(
        error.value
    )
    assert "Valid: nayer_100, nayer_300, cpu_small, cae_cifar100, cae_tiny_imagenet; or" in str(error.value)
    assert isinstance(experiment({"schedule": "nayer_tiny_imagenet"}).synthesis, NayerSettings)


@pytest.mark.parametrize(
    ("name", "generator_steps", "steps", "batch"),
    [("nayer_300", 30, 400, 512), ("cae_cifar100", 40, 400, 512), ("cae_tiny_imagenet", 60, 1000, 256)],
)
def test_the_main_method_has_a_schedule_for_each_data_set(
    name: str, generator_steps: int, steps: int, batch: int
) -> None:
    settings = experiment({"schedule": name, "synthesis": {"method": "cae"}})
    assert isinstance(settings.synthesis, CategoryAwareSettings)
    assert (settings.synthesis.generator_steps, settings.synthesis.batch_size) == (generator_steps, 400)
    assert (settings.distillation.steps_per_epoch, settings.distillation.batch_size) == (steps, batch)


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name.startswith("nayer_")])
def test_a_bank_of_a_long_schedule_is_not_written_every_epoch(name: str) -> None:
    assert experiment({"schedule": name}).distillation.checkpoint_every == 10


def test_what_a_methods_part_lacks_is_left_out_and_what_it_has_is_taken() -> None:
    settings = experiment({"schedule": "cpu_small", "synthesis": {"method": "deep_inversion"}})
    assert isinstance(settings.synthesis, DeepInversionSettings)
    assert settings.synthesis.weights.batch_norm == SCHEDULES["cpu_small"]["synthesis"]["weights"]["batch_norm"]
    assert settings.synthesis.batch_size == SCHEDULES["cpu_small"]["synthesis"]["batch_size"]
    with pytest.raises(SettingsError, match="synthesis.weights.adversarial: unknown setting"):  # a user's own is not
        experiment({"synthesis": {"method": "deep_inversion", "weights": {"adversarial": 1.0}}})


def test_apply_schedule_leaves_schedule_and_argument_alone() -> None:
    raw = {"schedule": "cpu_small", "synthesis": {"batch_size": 8}}
    before = to_dict(experiment({"schedule": "cpu_small"}))
    assert "schedule" not in apply_schedule(raw)
    assert raw == {"schedule": "cpu_small", "synthesis": {"batch_size": 8}}
    assert to_dict(experiment({"schedule": "cpu_small"})) == before


def test_plain_values_of_settings_give_the_same_settings_again() -> None:
    settings = experiment(
        {"synthesis": {"noise": {"name": "gaussian"}, "class_prior": [0.5, 0.5]}, "schedule": "cpu_small"}
    )
    assert isinstance(settings.synthesis, CategoryAwareSettings)
    assert settings.synthesis.noise == GaussianNoise()
    assert load_settings(ExperimentSettings, to_dict(settings), where="") == settings


def test_text_is_taken_as_the_number_that_it_spells() -> None:
    assert experiment({"distillation": {"learning_rate": "1e-3"}}).distillation.learning_rate == 0.001

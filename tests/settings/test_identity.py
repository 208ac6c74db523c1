import json
from dataclasses import dataclass, replace

import pytest

from dfkd.settings.experiment import (
    DatasetSettings,
    ExperimentSettings,
    LabelEmbeddingSettings,
    StudentSettings,
    TeacherSettings,
)
from dfkd.settings.identity import flatten, settings_key, shareable, shareable_search, to_dict
from dfkd.settings.search import CategoricalChoices, SearchSettings, UniformRange
from dfkd.settings.synthesis import PublicImagesSettings


@dataclass(frozen=True, kw_only=True)
class Inner:
    betas: tuple[float, ...] = (0.5, 0.999)


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = Inner()
    ranges: dict[str, Inner]
    name: str | None = None


def test_to_dict_gives_what_json_gives_back_unchanged() -> None:
    plain = to_dict(Outer(ranges={"a.b": Inner()}))
    assert plain == {"inner": {"betas": [0.5, 0.999]}, "ranges": {"a.b": {"betas": [0.5, 0.999]}}, "name": None}
    assert json.loads(json.dumps(plain)) == plain


def test_the_key_is_the_same_on_every_machine() -> None:
    # SHA-256 of {"inner":{"betas":[0.5,0.999]},"name":"\u00e9","ranges":{}}, worked out with sha256sum
    assert settings_key(Outer(ranges={}, name="é")) == "fc3a9ffae131fdf9"


def test_the_key_changes_with_any_value_but_not_with_the_order_of_keys() -> None:
    one = Outer(ranges={"a": Inner(), "b": Inner(betas=(0.1,))})
    assert settings_key(one) == settings_key(Outer(ranges={"b": Inner(betas=(0.1,)), "a": Inner()}))
    assert settings_key(one) == settings_key(to_dict(one))
    assert settings_key(one) != settings_key(Outer(ranges={"a": Inner(), "b": Inner(betas=(0.2,))}))


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("/home/jane/data/cifar10/", "cifar10"),
        ("~/cifar10", "cifar10"),
        ("../jane/cifar10", "cifar10"),
        ("C:\\Users\\jane\\cifar10", "cifar10"),
        ("https://jane:secret@host/cifar10", "cifar10"),
        ("data/cifar10", "data/cifar10"),
        ("models:/digits-teacher@champion", "models:/digits-teacher@champion"),
    ],
)
def test_what_is_shared_names_no_place_on_this_machine(place: str, shown: str) -> None:
    settings = ExperimentSettings(
        dataset=DatasetSettings(name="parquet", path=place),
        teacher=TeacherSettings(weights=place),
        student=StudentSettings(architecture="digits_student"),
        label_embeddings=LabelEmbeddingSettings(name="file", path=place, model=place),
    )
    plain = shareable(settings)
    assert plain["dataset"]["path"] == plain["teacher"]["weights"] == shown
    assert plain["label_embeddings"]["path"] == plain["label_embeddings"]["model"] == shown
    assert "jane" not in json.dumps(plain)
    assert plain["student"] == to_dict(settings)["student"]
    assert shareable(replace(settings, dataset=DatasetSettings()))["dataset"]["path"] is None


def test_flat_settings_have_dotted_names() -> None:
    assert flatten({"seed": 1, "teacher": {"mean": None, "training": {"epochs": 3}}}) == {
        "seed": 1,
        "teacher.mean": None,
        "teacher.training.epochs": 3,
    }


def test_a_baselines_own_images_name_no_place_either() -> None:
    settings = ExperimentSettings(
        dataset=DatasetSettings(),
        teacher=TeacherSettings(architecture="digits_teacher"),
        student=StudentSettings(architecture="digits_student"),
        synthesis=PublicImagesSettings(path="/home/jane/public"),
    )
    assert shareable(settings)["synthesis"]["path"] == "public"


def test_a_search_names_no_place_in_its_fixed_part_and_its_ranges() -> None:
    settings = SearchSettings(
        name="x",
        experiment={"dataset": {"path": "/home/jane/cifar10"}, "seed": 1},
        parameters={
            "label_embeddings.path": CategoricalChoices(choices=("~/jane/a.npz", "b.npz", None)),
            "distillation.learning_rate": UniformRange(low=0.1, high=0.2),
        },
        trials=1,
    )
    plain = shareable_search(settings)
    assert plain["experiment"] == {"dataset": {"path": "cifar10"}, "seed": 1}
    assert plain["parameters"]["label_embeddings.path"]["choices"] == ["a.npz", "b.npz", None]
    assert plain["parameters"]["distillation.learning_rate"] == {"type": "uniform", "low": 0.1, "high": 0.2}
    assert settings.experiment["dataset"]["path"] == "/home/jane/cifar10"

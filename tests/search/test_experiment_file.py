from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dfkd.config import SettingsError
from dfkd.search.experiment_file import load_experiment
from dfkd.settings.search import TrackingSettings

SMOKE = Path(__file__).parents[2] / "search_spaces" / "smoke.yaml"


def changed(folder: Path, **parts: object) -> str:
    """Write the smoke space with some parts replaced; ``None`` takes a part out."""
    raw = yaml.safe_load(SMOKE.read_text()) | parts
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({name: part for name, part in raw.items() if part is not None}))
    return str(file)


def test_a_run_without_a_search_is_tracked_as_its_file_says(tmp_path: Path) -> None:
    assert load_experiment(SMOKE)[1] == TrackingSettings(image_every=1)
    settings, tracking = load_experiment(changed(tmp_path, tracking={"images": "off"}))
    assert tracking.previews_every(20) == 0
    assert settings == load_experiment(SMOKE)[0]


def test_experiment_and_tracking_need_no_search_around_them(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    experiment = yaml.safe_load(SMOKE.read_text())["experiment"]
    file.write_text(yaml.safe_dump({"experiment": experiment, "tracking": {"images": False}}))
    assert load_experiment(file)[1].previews_every(20) == 0
    file.write_text(yaml.safe_dump({"experiment": experiment, "acceptance": {"margin": 0.05}}))
    assert load_experiment(file)[1] == TrackingSettings()
    file.write_text(yaml.safe_dump({"experiment": experiment, "acceptance": {"marginn": 0.05}}))
    with pytest.raises(SettingsError, match="acceptance.marginn: unknown setting. Did you mean 'margin'"):
        load_experiment(file)
    file.write_text(yaml.safe_dump(experiment))
    assert load_experiment(file, ["seed=3"])[0].seed == 3
    assert load_experiment(file)[1] == TrackingSettings()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"tracking": None, "trakcing": {"images": False}}, "trakcing: unknown setting. Did you mean 'tracking'?"),
        ({"tracking": {"image": False}}, "tracking.image: unknown setting. Did you mean 'images'?"),
        ({"objective": {"metric": "agrement"}}, "objective.metric: 'agrement' is unknown"),
    ],
)
def test_a_mistake_in_any_part_is_told(tmp_path: Path, parts: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_experiment(changed(tmp_path, **parts))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("override", "advice"),
    [
        ("trials=5", "--set trials: .*Change it in the file, or search with --trials"),
        ("tracking.images=off", "--set tracking.images: .*'tracking' stands beside it. Change it in the file"),
        ("objective.metric=kl", "--set objective.metric: .*'objective' stands beside it"),
    ],
)
def test_an_override_of_what_is_no_experiment_says_where_it_stands(override: str, advice: str) -> None:
    with pytest.raises(SettingsError, match=advice):
        load_experiment(SMOKE, [override])


def test_one_run_may_take_a_value_that_the_search_does_not_try(tmp_path: Path) -> None:
    """Ablations do; a search whose default lies outside its range is refused."""
    settings, _ = load_experiment(SMOKE, ["synthesis.contrast.kind=simclr", "distillation.learning_rate=0.9"])
    assert settings.distillation.learning_rate == 0.9

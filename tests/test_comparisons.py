"""The committed comparisons: each loads, resolves for every run, and says how it is run."""

from pathlib import Path

import pytest

from dfkd.config.comparison import Comparison, load_comparison
from dfkd.search.tuning_ranges import check_ranges
from dfkd.settings.synthesis import SynthesisSettings
from dfkd.settings.synthesis.mad import MadSettings
from dfkd.settings.synthesis.zskt import ZsktSettings

FOLDER = Path(__file__).parents[1] / "benchmarks" / "comparisons"
FILES = sorted(FOLDER.glob("*.yaml"))
EVERY_METHOD = {member().method for member in SynthesisSettings.__args__ if member.__name__ != "PublicImagesSettings"}


def methods_of(comparison: Comparison) -> set[str]:
    resolved = [
        comparison.resolve(row, pair=comparison.pairs[0], teacher=0, seed=0) for row in comparison.settings.methods
    ]
    return {settings.synthesis.method for settings in resolved}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_comparison_loads_and_every_run_resolves(path: Path) -> None:
    comparison = load_comparison(path)
    check_ranges(comparison)
    for run in comparison.runs():
        if run.column == "preset":
            comparison.experiment(run)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_comparison_opens_with_its_command(path: Path) -> None:
    comments = "\n".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    assert f"experiments/compare.py benchmarks/comparisons/{path.name}" in comments and "Hardware:" in comments


def test_no_two_comparisons_share_a_results_folder() -> None:
    names = [load_comparison(path).settings.name for path in FILES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["digits", "pneumonia"])
def test_every_method_and_baseline_is_compared_on_the_small_data_sets(name: str) -> None:
    comparison = load_comparison(FOLDER / f"{name}.yaml")
    assert methods_of(comparison) == EVERY_METHOD | {"public_images"}
    assert len(comparison.settings.seeds) == 5
    assert (comparison.settings.floor, comparison.settings.ceiling) == ("random_noise", "real_images")


def test_every_method_is_put_to_a_poisoned_teacher() -> None:
    comparison = load_comparison(FOLDER / "digits_poisoned.yaml")
    assert methods_of(comparison) == EVERY_METHOD
    assert all("backdoor" in each.tasks and each.teacher.training.poison for each in comparison.experiments())


def test_every_method_gets_the_same_tuning() -> None:
    settings = load_comparison(FOLDER / "digits.yaml").settings
    tuned = {name: row for name, row in settings.methods.items() if "tuned" in row.columns}
    assert len(tuned) == 16
    assert {len(row.parameters) for row in tuned.values()} == {3}


def test_the_16px_tier_is_called_smoke_and_has_ten_seeds_of_the_two_that_matter() -> None:
    settings = load_comparison(FOLDER / "cifar10_16px.yaml").settings
    assert settings.title is not None and "smoke" in settings.title
    assert {name for name, row in settings.methods.items() if row.seeds and len(row.seeds) == 10} == {"cae", "nayer"}
    assert settings.fractions == (1.0, 0.5)


def test_what_presets_took_from_ten_classes_is_set_for_two() -> None:
    comparison = load_comparison(FOLDER / "pneumonia.yaml")
    rows = {row: comparison.resolve(row, pair="", teacher=0, seed=0) for row in ("spaceshipnet", "mad", "zskt")}
    assert rows["spaceshipnet"].distillation.weight == 1 / 2
    for row in ("mad", "zskt"):
        synthesis = rows[row].synthesis
        assert isinstance(synthesis, MadSettings | ZsktSettings)
        assert (synthesis.gradient_clip, rows[row].distillation.gradient_clip) == (5 * 2, 5 * 2)


def test_what_the_shortened_tiers_show_is_called_smoke() -> None:
    for name in ("cifar10_16px", "cifar10_16px_transfer"):
        settings = load_comparison(FOLDER / f"{name}.yaml").settings
        assert settings.title is not None and "smoke" in settings.title
        assert min(settings.seeds) >= 200 and settings.teachers == (200,)  # on which no setting was chosen


def test_ablations_differ_from_the_method_in_one_part() -> None:
    settings = load_comparison(FOLDER / "digits_ablations.yaml").settings
    assert settings.methods["cae"].settings == {}
    both = {"one_of_both"}  # distributions and magnitudes: a cell of the crossed ablation
    assert all(len(row.settings) == 1 for name, row in settings.methods.items() if name not in {"cae"} | both)

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from dfkd.comparison.results import ResultsFolder
from dfkd.config import SettingsError
from dfkd.jobs.comparison_options import ComparisonOptions
from dfkd.jobs.load_comparison import prepare_comparison

FOLDER = Path(__file__).parents[2] / "benchmarks" / "comparisons"
SMOKE = str(FOLDER / "smoke.yaml")


@pytest.fixture
def options(tmp_path: Path) -> ComparisonOptions:
    return ComparisonOptions(results=tmp_path / "results")


def test_tuned_columns_wait_for_their_tuning_and_others_do_not(options: ComparisonOptions) -> None:
    with pytest.raises(SettingsError, match="methods.cae: has no tuned values yet. Run the same command with --tune"):
        prepare_comparison(SMOKE, [], options)
    prepare_comparison(SMOKE, [], options, to_tune=True)
    prepare_comparison(SMOKE, [], dataclasses.replace(options, only=("random_noise",)))
    prepare_comparison(SMOKE, [], dataclasses.replace(options, columns=("preset",)))


def test_values_of_an_earlier_tuning_are_taken_from_the_folder(options: ComparisonOptions) -> None:
    folder = ResultsFolder(options.results)
    folder.claim(prepare_comparison(SMOKE, [], options, to_tune=True))
    folder.note_tuned({"cae": {"params": {"distillation.learning_rate": 0.3}}})
    assert prepare_comparison(SMOKE, [], options).tuned == {"cae": {"distillation.learning_rate": 0.3}}


def test_a_file_of_tuned_values_is_looked_for_beside_the_comparison(options: ComparisonOptions, tmp_path: Path) -> None:
    text = Path(SMOKE).read_text()
    head, _, _ = text.partition("tuning:")
    file = tmp_path / "transferred.yaml"
    file.write_text(f"{head}tuned_values: digits/tuned.json\n")
    with pytest.raises(SettingsError, match="tuned_values: .*does not exist. Run that comparison's --tune"):
        prepare_comparison(str(file), [], options)
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "tuned.json").write_text('{"cae": {"params": {"distillation.learning_rate": 0.3}}}')
    comparison = prepare_comparison(str(file), [], options)
    tuned = next(run for run in comparison.runs() if run.column == "tuned")
    assert comparison.experiment(tuned).distillation.learning_rate == 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"only": ("cea",)}, "--only: 'cea' is unknown. Did you mean 'cae'"),
        ({"columns": ("tund",)}, "--columns: 'tund' is unknown. Did you mean 'tuned'"),
        ({"at_once": 0}, "--at-once: .*1"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    options: ComparisonOptions, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        prepare_comparison(SMOKE, [], dataclasses.replace(options, **changes), to_tune=True)


def test_runs_with_a_budget_in_seconds_go_alone(options: ComparisonOptions) -> None:
    with pytest.raises(ValueError, match="--at-once: runs with a budget in seconds go alone"):
        prepare_comparison(SMOKE, ["budget={seconds: 5}"], dataclasses.replace(options, at_once=2), to_tune=True)


def test_a_tuning_needs_its_settings(options: ComparisonOptions) -> None:
    with pytest.raises(SettingsError, match="tuning: is missing"):
        prepare_comparison(str(FOLDER / "pneumonia.yaml"), [], options, to_tune=True)


def test_nothing_heavy_is_loaded_to_check_a_comparison() -> None:
    code = (
        "import sys; from pathlib import Path; from dfkd.jobs.load_comparison import prepare_comparison;"
        "from dfkd.jobs.comparison_options import ComparisonOptions;"
        f"prepare_comparison({SMOKE!r}, [], ComparisonOptions(results=Path('/nowhere')), to_tune=True);"
        "print([name for name in ('torch', 'ray', 'mlflow', 'optuna', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

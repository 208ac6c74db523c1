from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dfkd.comparison.results import ResultsFolder, RunResult, tuned_values
from dfkd.config.comparison import Comparison, load_comparison

SMOKE = Path(__file__).parents[2] / "benchmarks" / "comparisons" / "smoke.yaml"


@pytest.fixture
def comparison() -> Comparison:
    return dataclasses.replace(load_comparison(SMOKE), tuned={"cae": {"distillation.learning_rate": 0.2}})


@pytest.fixture
def folder(comparison: Comparison, result: Callable[..., RunResult], tmp_path: Path) -> ResultsFolder:
    """A folder with the comparison's first run."""
    folder = ResultsFolder(tmp_path / "results")
    folder.claim(comparison)
    run = next(comparison.runs())
    folder.write(dataclasses.replace(result("cae", 0, 0.5), run=run, key=comparison.key(run)))
    return folder


def other(**experiment: str) -> Comparison:
    return load_comparison(SMOKE, [f"{path.replace('__', '.')}={value}" for path, value in experiment.items()])


def test_what_was_written_is_read_back(folder: ResultsFolder, comparison: Comparison) -> None:
    (read,) = folder.results()
    assert read.run == next(comparison.runs()) and read.test["accuracy/top1"] == 0.5
    assert folder.has(read.run) and not folder.has(list(comparison.runs())[1])
    folder.forget(read.run)
    assert folder.results() == []


def test_a_folder_keeps_its_name_over_several_commands(folder: ResultsFolder, comparison: Comparison) -> None:
    before = folder.facts()["id"]
    folder.claim(comparison)
    assert folder.facts()["id"] == before


def test_results_of_another_comparison_are_refused(folder: ResultsFolder) -> None:
    for changed in (other(budget="{macs: 3e10}"), other(dataset__crop_padding="2"), other(shrink="{batch_sizes: 2}")):
        with pytest.raises(ValueError, match="holds the comparison 'smoke' with other data, pairs, budget, score or"):
            folder.check(changed)


def test_a_run_under_other_settings_is_refused(folder: ResultsFolder) -> None:
    changed = other(methods__cae__settings__synthesis__generator_steps="3")
    with pytest.raises(ValueError, match="was run under other settings than 'cae' has now"):
        folder.check(changed)


def test_a_run_of_a_row_that_is_gone_is_refused(folder: ResultsFolder, comparison: Comparison) -> None:
    fewer = dataclasses.replace(comparison.settings, seeds=(1,))
    with pytest.raises(ValueError, match="is no run of"):
        folder.check(dataclasses.replace(comparison, settings=fewer))


def test_seeds_and_budgets_may_be_added(folder: ResultsFolder, comparison: Comparison) -> None:
    more = dataclasses.replace(comparison.settings, seeds=(0, 1, 2), fractions=(1.0, 0.5, 0.25))
    folder.check(dataclasses.replace(comparison, settings=more))


def test_tuned_results_need_the_values_they_were_run_with(
    folder: ResultsFolder, comparison: Comparison, result: Callable[..., RunResult]
) -> None:
    run = next(run for run in comparison.runs() if run.column == "tuned")
    folder.write(dataclasses.replace(result("cae", 0, 0.5), run=run, key=comparison.key(run)))
    folder.check(comparison)
    with pytest.raises(ValueError, match="was run with tuned values, and there are none any more"):
        folder.check(dataclasses.replace(comparison, tuned={}))
    retuned = dataclasses.replace(comparison, tuned={"cae": {"distillation.learning_rate": 0.3}})
    with pytest.raises(ValueError, match="was run under other settings"):
        folder.check(retuned)


def test_a_folder_with_other_files_is_refused(comparison: Comparison, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files and no comparison"):
        ResultsFolder(tmp_path).claim(comparison)


def test_results_name_no_place_on_a_machine(tmp_path: Path) -> None:
    changed = load_comparison(SMOKE, ["dataset.path=/home/somebody/digits"])
    folder = ResultsFolder(tmp_path / "results")
    folder.claim(changed)
    assert "somebody" not in (folder.path / "comparison.json").read_text()
    folder.check(load_comparison(SMOKE, ["dataset.path=/elsewhere"]))


def test_a_file_is_whole_at_any_moment(folder: ResultsFolder) -> None:
    folder.note_costs({"a": {"macs": 1}})
    assert not list(folder.path.rglob("*.partial"))
    assert json.loads((folder.path / "costs.json").read_text()) == folder.costs()
    shutil.rmtree(folder.path)
    assert folder.costs() == {} and folder.tuned() == {} and folder.results() == []


def test_values_of_an_unfinished_search_are_none() -> None:
    assert tuned_values({"a": {"params": {"x": 1}}, "b": {"params": None}}) == {"a": {"x": 1}}

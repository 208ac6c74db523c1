from __future__ import annotations

import dataclasses
import math
from collections import Counter
from pathlib import Path

import pytest

from dfkd.config import SettingsError
from dfkd.config.comparison import Comparison, load_comparison
from dfkd.settings.comparison import RunName
from dfkd.settings.objectives import TaskObjective, TransferObjective
from dfkd.settings.schedules import SCHEDULES

TEXT = """
name: made
experiment:
  dataset: {name: digits}
  teacher: {architecture: digits_teacher}
  student: {architecture: digits_student}
  distillation: {epochs: 3, temperature: 4.0}
shrink: {batch_sizes: 4, generator_width: 2}
methods:
  ours: {preset: nayer_300}
  theirs: {preset: nayer_cifar10, settings: {synthesis.generator_steps: 7}, seeds: [0, 5]}
  noise: {settings: {synthesis: {method: random_noise}}}
pairs:
  small: {student.architecture: digits_student}
  large: {student.architecture: digits_teacher}
teachers: [0, 1]
seeds: [0, 1]
budget: {macs: 1.0e+9}
fractions: [0.5, 1.0]
reference: ours
"""


def load(folder: Path, *changes: tuple[str, str], overrides: tuple[str, ...] = ()) -> Comparison:
    text = TEXT
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file = folder / "made.yaml"
    file.write_text(text)
    return load_comparison(file, overrides)


def run(row: str, **changes: object) -> RunName:
    known = RunName(pair="small", fraction=1.0, row=row, column="preset", teacher=0, seed=0)
    return dataclasses.replace(known, **changes)


def test_every_run_is_there_once_and_the_largest_budget_first(tmp_path: Path) -> None:
    runs = list(load(tmp_path).runs())
    assert len(runs) == len(set(runs)) == 2 * 2 * 2 * 3 * 2  # pairs, fractions, teachers, rows of two seeds each
    assert Counter(run.fraction for run in runs) == {1.0: 24, 0.5: 24}
    assert [run.fraction for run in runs if run.pair == "small"] == [1.0] * 12 + [0.5] * 12
    assert {run.seed for run in runs if run.row == "theirs"} == {0, 5}


def test_runs_differ_in_row_pair_teacher_and_seed_alone(tmp_path: Path) -> None:
    comparison = load(tmp_path)
    settings = comparison.experiment(run("ours", pair="large", teacher=1, seed=1))
    assert (settings.seed, settings.teacher.training.seed) == (1, 1)
    assert settings.student.architecture == "digits_teacher"
    other = comparison.experiment(run("noise", pair="large", teacher=1, seed=1))
    assert (other.dataset, other.teacher, other.student, other.tasks) == (
        settings.dataset,
        settings.teacher,
        settings.student,
        settings.tasks,
    )


def test_a_preset_leaves_nothing_of_another_students_training(tmp_path: Path) -> None:
    comparison = load(tmp_path)
    theirs = comparison.experiment(run("theirs"))
    assert (theirs.distillation.epochs, theirs.distillation.temperature) == (300, 20.0)
    noise = comparison.experiment(run("noise"))
    assert (noise.distillation.epochs, noise.distillation.temperature, noise.distillation.batch_size) == (3, 4.0, 512)


def test_presets_are_shrunk_alike_and_rows_may_differ_from_theirs(tmp_path: Path) -> None:
    comparison = load(tmp_path)
    for row in ("ours", "theirs"):
        settings = comparison.experiment(run(row))
        assert settings.distillation.batch_size == 512 / 4
        assert settings.distillation.learning_rate == pytest.approx(0.2 / math.sqrt(4))
        assert settings.synthesis.batch_size == 400 / 4  # type: ignore[union-attr]
        assert settings.synthesis.generator.width == 64 / 2  # type: ignore[union-attr]
        assert settings.synthesis.learning_rate == 4e-3  # type: ignore[union-attr]
    assert comparison.experiment(run("theirs")).synthesis.generator_steps == 7  # type: ignore[union-attr]


@pytest.mark.parametrize("preset", sorted(SCHEDULES))
def test_every_preset_can_be_shrunk(tmp_path: Path, preset: str) -> None:
    comparison = load(tmp_path, ("preset: nayer_300", f"preset: {preset}"), ("batch_sizes: 4", "batch_sizes: 8"))
    assert comparison.experiment(run("ours")).distillation.batch_size < 512


def test_a_key_tells_settings_budget_and_tuned_values_apart_but_not_places(tmp_path: Path) -> None:
    comparison = load(tmp_path)
    key = comparison.key(run("ours"))
    assert key == load(tmp_path, overrides=("dataset.path=/elsewhere",)).key(run("ours"))
    assert key != comparison.key(run("ours", seed=1)) and key != comparison.key(run("ours", fraction=0.5))
    assert key != load(tmp_path, ("1.0e+9", "2.0e+9")).key(run("ours"))
    tuned = run("ours", column="tuned")
    with pytest.raises(SettingsError, match=r"methods.ours: has no tuned values yet. Run --tune first"):
        comparison.key(tuned)
    found = [
        dataclasses.replace(comparison, tuned={"ours": {"synthesis.learning_rate": rate}}).key(tuned)
        for rate in (0.1, 0.2)
    ]
    assert len({key, *found}) == 3


def test_overrides_reach_the_experiment_and_the_comparison(tmp_path: Path) -> None:
    comparison = load(tmp_path, overrides=("dataset.crop_padding=0", "seeds=[7]", "methods.ours.seeds=[8]"))
    assert comparison.experiment(run("ours")).dataset.crop_padding == 0
    assert comparison.settings.seeds == (7,) and comparison.settings.methods["ours"].seeds == (8,)


REFUSED: dict[str, tuple[str, str, str]] = {
    "a setting of another method": (
        "method: random_noise",
        "method: random_noise, generator_steps: 3",
        "methods.noise: synthesis.generator_steps",
    ),
    "a misspelt setting": (
        "synthesis.generator_steps: 7",
        "synthesis.generator_stepz: 7",
        "methods.theirs: synthesis.generator_stepz.*Did you mean 'generator_steps'",
    ),
    "a budget of zero": ("macs: 1.0e+9", "macs: 0", "budget.*macs: .*above 0"),
    "seeds with doubles": ("seeds: [0, 1]\nbudget", "seeds: [0, 0]\nbudget", "seeds: 0 stands twice"),
    "an unknown method": ("method: random_noise", "method: random_nois", "Did you mean 'random_noise'"),
    "an unknown network": ("student.architecture: digits_teacher", "student.architecture: resnt8", "resnt8"),
    "an unknown key": ("reference: ours", "reference: ours\nrefrence: ours", "refrence.*Did you mean 'reference'"),
    "two workers": ("distillation: {epochs", "workers: 2\n  distillation: {epochs", "one worker, got 2"),
    "a task that tables need": (
        "distillation: {epochs",
        "tasks: [accuracy]\n  distillation: {epochs",
        "expected 'agreement' among them",
    ),
    "seeds of a teacher's weights": (
        "teacher: {architecture: digits_teacher}",
        "teacher: {architecture: digits_teacher, weights: a.safetensors}",
        "teachers: a teacher that is given by its weights has no training seeds",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_mistake_is_told_with_where_it_stands(tmp_path: Path, mistake: str) -> None:
    old, new, message = REFUSED[mistake]
    with pytest.raises(SettingsError, match=message):
        load(tmp_path, (old, new))


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    two = [("synthesis.generator_steps: 7", "synthesis.a: 7"), ("method: random_noise", "method: random_nois")]
    with pytest.raises(SettingsError) as told:
        load(tmp_path, *two)
    assert "methods.theirs" in str(told.value) and "methods.noise" in str(told.value)


TRANSFER = "reference: ours\ntransfer: {few: {by: {task: few_shot, dataset: {name: digits, path: %s}}}}\n"


def test_a_transfer_column_makes_other_runs_wherever_its_data_lie(tmp_path: Path) -> None:
    without = load(tmp_path).key(run("ours"))
    here, there = (load(tmp_path, ("reference: ours\n", TRANSFER % place)).key(run("ours")) for place in ("/a", "/b"))
    other = load(tmp_path, ("reference: ours\n", TRANSFER % "/a"), overrides=("transfer.few.seed=1",)).key(run("ours"))
    assert here == there and len({without, here, other}) == 3


def test_a_column_may_be_a_task_on_the_comparisons_own_images_which_says_its_type(tmp_path: Path) -> None:
    both = "reference: ours\ntransfer:\n  few: {by: {task: few_shot, dataset: {name: digits}}}\n  cka: {%s}\n"
    known = load(tmp_path, ("reference: ours\n", both % "type: task, task: representation"))
    few, cka = known.settings.transfer.values()
    assert isinstance(few, TransferObjective) and isinstance(cka, TaskObjective) and cka.column == "cka"
    other = load(tmp_path, ("reference: ours\n", both % "type: task, task: representation, score: uniformity"))
    assert known.key(run("ours")) != other.key(run("ours")) and known.fingerprint() != other.fingerprint()
    with pytest.raises(SettingsError, match="transfer.cka.type: is missing. Valid: transfer, task"):
        load(tmp_path, ("reference: ours\n", both % "task: representation"))
    with pytest.raises(SettingsError, match="transfer.cka.score: 'eec' is unknown. Did you mean 'ece'"):
        load(tmp_path, ("reference: ours\n", both % "type: task, task: calibration, score: eec"))
    with pytest.raises(SettingsError, match="transfer.cka.type: 'cost' is unknown"):
        load(tmp_path, ("reference: ours\n", both % "type: cost, of: parameters"))


def test_what_is_not_distilled_runs_at_one_budget_and_takes_nothing_of_a_method(tmp_path: Path) -> None:
    bound = ("  noise: {", "  bound: {student: untrained}\n  noise: {")
    runs = [found for found in load(tmp_path, bound).runs() if found.row == "bound"]
    assert {found.fraction for found in runs} == {1.0} and len(runs) == 2 * 2 * 2  # pairs, teachers, seeds
    with pytest.raises(SettingsError, match="reference: the row 'bound' is 'untrained'"):
        load(tmp_path, bound, ("reference: ours", "reference: bound"))
    with pytest.raises(SettingsError, match="methods.bound.*takes no preset, settings or tuning"):
        load(tmp_path, ("  noise: {", "  bound: {student: untrained, preset: nayer_300}\n  noise: {"))

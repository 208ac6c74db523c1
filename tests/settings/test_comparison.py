from __future__ import annotations

from typing import Any

import pytest

from dfkd.settings.comparison import (
    BudgetSettings,
    ComparisonSettings,
    RowSettings,
    RunName,
    ShrinkSettings,
)
from dfkd.settings.experiment import DatasetSettings
from dfkd.settings.objectives import TaskObjective, TransferObjective
from dfkd.settings.search import LogUniformRange
from dfkd.settings.tasks import FewShotSettings
from dfkd.settings.tuning import TuningSettings

RANGE = LogUniformRange(low=0.1, high=0.4)


def comparison(**changes: Any) -> ComparisonSettings:
    known: dict[str, Any] = {
        "name": "made",
        "experiment": {},
        "methods": {"cae": RowSettings(), "noise": RowSettings()},
        "seeds": (0, 1),
        "budget": BudgetSettings(macs=1.0),
        "reference": "cae",
    }
    return ComparisonSettings(**known | changes)


def shots(*classes: int, path: str = "/images") -> TransferObjective:
    data = DatasetSettings(name="parquet", path=path, image_size=8)
    return TransferObjective(by=FewShotSettings(shots=(5,), classes=tuple(classes) or None, dataset=data))  # type: ignore[arg-type]


TUNED = {"cae": RowSettings(columns=("preset", "tuned"), parameters={"synthesis.learning_rate": RANGE})}
TUNING: dict[str, Any] = {"trials": 2, "teacher": 1, "seeds": (10,)}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "seeds with doubles": ({"seeds": (0, 1, 0)}, "seeds: 0 stands twice; keep one"),
    "no seeds": ({"seeds": ()}, "seeds: expected at least one seed"),
    "a negative seed": ({"seeds": (-1,)}, "seeds: .*-1"),
    "teachers with doubles": ({"teachers": (3, 3)}, "teachers: 3 stands twice"),
    "no methods": ({"methods": {}}, "methods: expected at least one row"),
    "a reference that is no row": ({"reference": "cea"}, "reference: 'cea' is unknown. Did you mean 'cae'"),
    "a floor that is no row": ({"floor": "nois"}, "floor: 'nois' is unknown"),
    "a share above the budget": ({"fractions": (1.5,)}, "fractions: expected a share in .0, 1."),
    "no share": ({"fractions": ()}, "fractions: expected at least one"),
    "a share twice": ({"fractions": (0.5, 0.5)}, "fractions: 0.5 stands twice"),
    "a name that is no file's": ({"name": "a/b"}, "name: expected only letters"),
    "a pair that changes the data": ({"pairs": {"p": {"dataset.path": "x"}}}, "pairs.p.*dataset.path.*same for all"),
    "tuned without a tuning": ({"methods": TUNED}, "tuning: is missing, and the row 'cae' has a column 'tuned'"),
    "a tuning of nothing": ({"tuning": TuningSettings(**TUNING)}, "tuning: no row has a column 'tuned'"),
    "a tuning on seeds of the table": (
        {"methods": TUNED, "tuning": TuningSettings(**TUNING | {"seeds": (1,)})},
        "tuning.seeds: 1 is in the table too",
    ),
    "a tuning on a teacher of the table": (
        {"methods": TUNED, "tuning": TuningSettings(**TUNING | {"teacher": 0})},
        "tuning.teacher: the one of seed 0 is in the table too",
    ),
    "a tuning on classes of a column": (
        {"methods": TUNED, "transfer": {"five": shots(5, 9)}, "tuning": TuningSettings(**TUNING, transfer=shots(0, 5))},
        "tuning.transfer: classes of it are in the column 'five' too",
    ),
    "a tuning on all classes": (
        {"methods": TUNED, "transfer": {"five": shots(5, 9)}, "tuning": TuningSettings(**TUNING, transfer=shots())},
        "tuning.transfer: classes of it are in the column 'five' too",
    ),
    "two sources of tuned values": (
        {"methods": TUNED, "tuning": TuningSettings(**TUNING), "tuned_values": "tuned.json"},
        "tuned_values: these are tuned already",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_comparison_that_cannot_be_is_refused(mistake: str) -> None:
    changes, message = REFUSED[mistake]
    comparison()  # the same without the mistake
    with pytest.raises(ValueError, match=message):
        comparison(**changes)


def test_a_tuning_by_transfer_looks_at_other_classes_or_data() -> None:
    for elsewhere in (shots(0, 4), shots(path="/other/images")):
        tuning = TuningSettings(**TUNING, transfer=elsewhere)
        columns = {"five": shots(5, 9), "cka": TaskObjective(task="representation")}
        made = comparison(methods=TUNED, transfer=columns, tuning=tuning)
        assert made.tuning is not None and (made.tuning.goal, made.tuning.measured_by) == (
            "maximize",
            "few_shot 5_shot",
        )


@pytest.mark.parametrize("amounts", [{}, {"macs": 1.0, "seconds": 1.0}])
def test_a_budget_is_in_one_unit(amounts: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="macs: expected either 'macs' or 'seconds'"):
        BudgetSettings(**amounts)


@pytest.mark.parametrize("unit", ["macs", "seconds"])
@pytest.mark.parametrize("amount", [0.0, -1.0])
def test_a_budget_is_above_zero(unit: str, amount: float) -> None:
    with pytest.raises(ValueError, match=f"{unit}: .*above 0"):
        BudgetSettings(**{unit: amount})
    assert BudgetSettings(**{unit: 2.0}).unit == unit and BudgetSettings(**{unit: 2.0}).amount == 2.0


def test_a_row_changes_its_method_and_nothing_of_the_rest() -> None:
    with pytest.raises(ValueError, match="settings.student.architecture.*The rest is the same for all"):
        RowSettings(settings={"student.architecture": "resnet8"})
    with pytest.raises(ValueError, match="preset: 'nayer_cifar1' is unknown. Did you mean 'nayer_cifar10'"):
        RowSettings(preset="nayer_cifar1")


def test_tuned_columns_and_ranges_come_together() -> None:
    with pytest.raises(ValueError, match="columns: 'tuned' and a search over `parameters` come together"):
        RowSettings(columns=("tuned",))
    with pytest.raises(ValueError, match="columns: 'tuned' and a search over `parameters` come together"):
        RowSettings(parameters={"synthesis.learning_rate": RANGE})
    with pytest.raises(ValueError, match="columns: expected 'preset', 'tuned' or both"):
        RowSettings(columns=())


def test_shrinking_never_enlarges() -> None:
    with pytest.raises(ValueError, match="batch_sizes: .*1"):
        ShrinkSettings(batch_sizes=0.5)


def test_a_run_is_a_files_name() -> None:
    run = RunName(pair="", fraction=0.5, row="cae", column="tuned", teacher=1, seed=2)
    assert str(run) == "cae.tuned.x0.5.t1.s2"
    assert str(RunName(pair="small", fraction=1.0, row="cae", column="preset", teacher=0, seed=0)).startswith(
        "small.cae"
    )

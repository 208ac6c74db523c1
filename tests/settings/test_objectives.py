from typing import Any

import pytest

from dfkd.config import SettingsError, load_settings
from dfkd.settings.objectives import SCORES, TASK_SCORES, TaskObjective, TransferObjective
from dfkd.settings.search import SearchSettings

DIGITS = {"name": "digits"}
SIZE = {"type": "cost", "of": "parameters"}


def load(**values: Any) -> SearchSettings:
    raw = {"name": "a", "trials": 4, "experiment": {}, "parameters": {"x": {"type": "uniform", "low": 0, "high": 1}}}
    return load_settings(SearchSettings, raw | values, where="space.yaml")


def test_goals_are_of_all_objectives_the_searchs_own_first() -> None:
    far = {"type": "transfer", "by": {"task": "depth", "dataset": {"name": "nyuv2", "path": "p"}}, "score": "rmse"}
    found = load(objective={"metric": "kl"}, further_objectives={"far": far})
    assert found.goals == {"kl": "minimize", "far": "minimize"}
    assert load(further_objectives={"size": SIZE}).goals == {"agreement": "maximize", "size": "minimize"}
    assert load().goals == {"agreement": "maximize"}


def test_a_choice_by_ones_own_images_says_so() -> None:
    own = {"e": {"type": "task", "task": "calibration"}, "cka": {"type": "task", "task": "representation"}}
    words = load(further_objectives=own).selection_data
    assert words.endswith("and validation images with their labels (`e`) and validation images (`cka`)")
    same = {"same": {"type": "task", "task": "agreement", "score": "kl"}}
    assert load(further_objectives=same).selection_data.endswith("and validation images (`same`)")
    assert load(further_objectives=same).goals["same"] == "minimize"


def test_scores_say_whether_who_learnt_nothing_is_the_worst_and_whether_they_are_shares() -> None:
    tasks = [TaskObjective(task=task, score=score) for task, scores in TASK_SCORES.items() for score in scores]
    assert [each.column for each in tasks if not each.has_floor] == ["alignment", "kl", "ece"]
    assert [(each.task, each.column) for each in tasks if each.is_share] == [
        ("agreement", "top1"),
        ("corruption", "top1"),
    ]


def test_a_task_counts_by_its_first_column_unless_told() -> None:
    few = {"type": "transfer", "by": {"task": "few_shot", "dataset": DIGITS}}
    found = load(further_objectives={"few": few, "more": few | {"score": "20_shot"}}).further_objectives
    assert [each.column for each in found.values() if isinstance(each, TransferObjective)] == ["1_shot", "20_shot"]


def test_every_task_has_its_columns() -> None:
    from dfkd.tasks.transfer_tasks import TRANSFER_TASKS

    assert {*SCORES, "few_shot"} == set(TRANSFER_TASKS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"further_objectives": {"size": {"type": "cost", "of": "watts"}}}, "further_objectives.size.of"),
        ({"further_objectives": {"e": {"type": "task", "task": "calibration", "score": "eec"}}},
         "'eec' is unknown. Did you mean 'ece'"),
        ({"further_objectives": {"agreement": SIZE}}, "'agreement' is the search's own objective"),
        ({"further_objectives": dict.fromkeys("abc", SIZE)}, "expected at most 2, got 3"),
        ({"further_objectives": {"size": SIZE}, "early_stopping": {}}, "early_stopping: further objectives are known"),
        ({"sampler": {"name": "nsga2"}}, "'nsga2' is for several objectives"),
        ({"front": {"rule": "limits"}}, "the rule 'limits' needs at least one limit"),
        ({"front": {"limits": {"size": 1}}}, "'knee' takes none"),
        ({"front": {"rule": "limits", "limits": {"size": 1}}}, "front.limits: 'size' is no objective here"),
        ({"further_objectives": {"t": {"type": "transfer", "score": "top5", "by": {"task": "few_shot",
          "dataset": DIGITS}}}}, "'top5' is unknown"),
        ({"further_objectives": {"t": {"type": "transfer", "by": {"task": "depth", "dataset": {"name": "scenes"}}}}},
         "drawn scenes test the plumbing, and no student is chosen by them"),
    ],
)  # fmt: skip
def test_objectives_that_cannot_be_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(**values)

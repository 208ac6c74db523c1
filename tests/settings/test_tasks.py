from typing import Any

import pytest

from dfkd.config import SettingsError, load_settings
from dfkd.settings.tasks import TransferSettings, is_reportable

IMAGES = {"name": "parquet", "path": "data"}
NOTHING = {"name": "none", "image_size": 8, "channels": 1, "class_names": ["a", "b"]}


def load(**tasks: dict[str, Any]) -> TransferSettings:
    return load_settings(TransferSettings, {"transfer": tasks}, where="tasks.yaml")


def test_a_task_chooses_its_settings_and_its_protocols_numbers() -> None:
    found = load(probe={"task": "linear_probe", "dataset": IMAGES}, fine={"task": "fine_tuning", "dataset": IMAGES})
    probe, fine = found.transfer["probe"], found.transfer["fine"]
    assert (probe.epochs, probe.learning_rate, probe.decay.milestones) == (120, 0.05, (0.25, 0.5, 0.75))  # type: ignore[union-attr]
    assert (fine.backbone_learning_rate, fine.head_learning_rate, fine.decay.kind) == (0.01, 0.1, "cosine")  # type: ignore[union-attr]


def test_one_path_serves_every_task() -> None:
    tasks = {"a": {"task": "few_shot", "dataset": IMAGES}, "b": {"task": "segmentation", "dataset": IMAGES}}
    found = load_settings(TransferSettings, {"transfer": tasks, "path": "elsewhere"}, where="tasks.yaml")
    assert {task.dataset.path for task in found.transfer.values()} == {"elsewhere"}


def test_drawn_scenes_are_no_results() -> None:
    found = load(a={"task": "depth", "dataset": {"name": "scenes"}}, b={"task": "few_shot", "dataset": IMAGES})
    assert [is_reportable(task) for task in found.transfer.values()] == [False, True]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"task": "linear_prob", "dataset": IMAGES}, "Did you mean 'linear_probe'"),
        ({"task": "few_shot", "dataset": IMAGES, "shots": [1, 1]}, "shots: expected different numbers"),
        ({"task": "few_shot", "dataset": IMAGES, "draws": 1}, "draws"),
        ({"task": "few_shot", "dataset": IMAGES, "classes": [3, 3]}, "classes: expected the first and last index"),
        ({"task": "linear_probe", "dataset": NOTHING}, "'none' has no images, and this task needs labelled ones"),
        ({"task": "segmentation", "dataset": {"name": "scenes"}}, "dataset.name: 'scenes' is unknown"),
        ({"task": "depth", "dataset": {"name": "nyuv2"}}, "path: 'nyuv2' needs a folder"),
        ({"task": "depth", "dataset": {"name": "scenes"}, "scale_invariance": 2}, "scale_invariance"),
        ({"task": "detection", "dataset": {"name": "scenes"}, "head_learning_rate": 0}, "head_learning_rate"),
        ({"task": "detection", "dataset": {"name": "scenes"}, "width": 48}, "width: FCOS .* 32 groups, .* got 48"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(task: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(own=task)


def test_names_of_tasks_can_stand_in_columns() -> None:
    with pytest.raises(SettingsError, match="expected small letters, digits and '_' for a task's name, got 'My task'"):
        load(**{"My task": {"task": "few_shot", "dataset": IMAGES}})
    with pytest.raises(SettingsError, match="expected at least one task, got none"):
        load()

import dataclasses
from collections.abc import Callable

import pytest
import torch

from dfkd.settings.experiment import TASKS as TASK_NAMES
from dfkd.tasks import TASKS, TaskInput, evaluate


def test_every_task_of_the_settings_exists() -> None:
    assert tuple(TASKS) == TASK_NAMES


@pytest.mark.parametrize("name", TASKS)
def test_metrics_carry_the_tasks_name_and_are_plain_numbers(name: str, make_input: Callable[..., TaskInput]) -> None:
    metrics = evaluate([name], make_input(torch.eye(2), torch.eye(2), [0, 1]))
    assert metrics
    assert all(key.startswith(f"{name}/") and type(value) is float for key, value in metrics.items())


def test_tasks_are_evaluated_together(make_input: Callable[..., TaskInput]) -> None:
    metrics = evaluate(["accuracy", "agreement"], make_input(torch.eye(2), torch.eye(2), [0, 1]))
    assert {key.split("/")[0] for key in metrics} == {"accuracy", "agreement"}


def test_unknown_task_is_suggested(make_input: Callable[..., TaskInput]) -> None:
    with pytest.raises(ValueError, match="'acuracy' is unknown. Did you mean 'accuracy'?"):
        evaluate(["acuracy"], make_input(torch.eye(2), torch.eye(2), [0, 1]))


def test_without_labels_agreement_and_representation_are_left(make_input: Callable[..., TaskInput]) -> None:
    unlabelled = make_input(torch.eye(2), torch.eye(2), None)
    metrics = evaluate(list(TASKS), unlabelled)
    assert metrics == evaluate(["agreement", "representation"], make_input(torch.eye(2), torch.eye(2), [0, 1]))


def test_a_teacher_of_another_normalisation_sees_its_own_images(make_input: Callable[..., TaskInput]) -> None:
    swapped = torch.eye(2).flip(0)
    common = make_input(torch.eye(2), swapped, [0, 1])
    assert evaluate(["accuracy"], common)["accuracy/teacher_top1"] == 0.0
    own = dataclasses.replace(common, teacher_normalise=lambda pixels: 1 / 255 - pixels)  # levels 0 and 1 exchanged
    assert evaluate(["accuracy"], own)["accuracy/teacher_top1"] == 1.0
    assert evaluate(["accuracy"], own)["accuracy/top1"] == 1.0

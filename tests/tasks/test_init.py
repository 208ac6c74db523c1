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

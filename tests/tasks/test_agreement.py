import math
from collections.abc import Callable

import pytest
import torch

from dfkd.tasks import TaskInput, evaluate

MakeInput = Callable[..., TaskInput]


def test_agreement_of_equal_networks_is_complete(make_input: MakeInput) -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    metrics = evaluate(["agreement"], make_input(logits, logits.clone(), [0] * 5))
    assert metrics["agreement/top1"] == 1
    assert metrics["agreement/kl"] == pytest.approx(0, abs=1e-12)


def test_agreement_is_as_worked_by_hand(make_input: MakeInput) -> None:
    student = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])  # probabilities 1/2, 1/2 and 3/4, 1/4
    teacher = torch.tensor([[math.log(3.0), 0.0], [0.0, math.log(3.0)]])  # 3/4, 1/4 and 1/4, 3/4
    metrics = evaluate(["agreement"], make_input(student, teacher, [0, 0]))
    first = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    second = 0.25 * math.log(0.25 / 0.75) + 0.75 * math.log(0.75 / 0.25)
    assert metrics["agreement/kl"] == pytest.approx((first + second) / 2, rel=1e-6)
    assert metrics["agreement/top1"] == 0.5


def test_agreement_ignores_the_labels(make_input: MakeInput) -> None:
    student, teacher = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    one = evaluate(["agreement"], make_input(student, teacher, [0] * 6))
    assert one == evaluate(["agreement"], make_input(student, teacher, [0, 1, 2] * 2))


def test_confident_logits_give_a_finite_divergence(make_input: MakeInput) -> None:
    metrics = evaluate(["agreement"], make_input(torch.tensor([[500.0, 0.0]]), torch.tensor([[0.0, 500.0]]), [0]))
    assert metrics["agreement/kl"] == pytest.approx(500)

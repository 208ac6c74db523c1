from collections.abc import Callable

import pytest
import torch
from torch import nn

from dfkd.domain import Domain
from dfkd.synthesis.class_draw import PRIOR_FLOOR, draw_labels, resolve_prior

CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_uniform_and_listed_shares(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> None:
    teacher, domain = tiny_network(num_classes=4), tiny_domain(num_classes=4)
    uniform = resolve_prior("uniform", teacher=teacher, domain=domain, device=CPU)
    assert uniform.tolist() == [0.25] * 4
    listed = resolve_prior((0.7, 0.1, 0.2, 0.0), teacher=teacher, domain=domain, device=CPU)
    assert listed.tolist() == pytest.approx([0.7, 0.1, 0.2, 0.0])


def test_a_list_of_another_length_is_refused(
    tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]
) -> None:
    with pytest.raises(ValueError, match=r"class_prior: expected 4 shares \(one a class\), got 2"):
        resolve_prior((0.5, 0.5), teacher=tiny_network(), domain=tiny_domain(num_classes=4), device=CPU)


def test_no_class_falls_below_the_floor_when_the_teacher_says(
    tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]
) -> None:
    teacher = tiny_network(num_classes=4).eval().requires_grad_(False)
    teacher.classifier.bias[0] = 50  # this teacher never says anything else
    prior = resolve_prior("teacher", teacher=teacher, domain=tiny_domain(num_classes=4), device=CPU)
    raised = 1 + 3 * PRIOR_FLOOR / 4
    assert prior.tolist() == pytest.approx([1 / raised] + [PRIOR_FLOOR / 4 / raised] * 3, rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_labels_follow_the_prior_to_the_nearest_whole_numbers(seed: int) -> None:
    assert torch.bincount(draw_labels(torch.full((4,), 0.25), 40, seeded(seed))).tolist() == [10] * 4
    counts = torch.bincount(draw_labels(torch.tensor([0.7, 0.0, 0.1, 0.2]), 101, seeded(seed)), minlength=4)
    assert counts.sum() == 101 and counts[1] == 0
    assert (counts - 101 * torch.tensor([0.7, 0.0, 0.1, 0.2])).abs().max() <= 1


def test_fewer_labels_than_classes_reach_every_class_in_the_long_run() -> None:
    prior = torch.full((10,), 0.1)
    counts = torch.stack([torch.bincount(draw_labels(prior, 3, seeded(seed)), minlength=10) for seed in range(500)])
    assert counts.max() == 1  # never one class twice
    assert (counts.sum(dim=0) - 150).abs().max() < 5 * 10.3  # binomial: 500 draws at 0.3


def test_labels_come_in_random_order() -> None:
    one, other = (draw_labels(torch.full((4,), 0.25), 40, seeded(seed)) for seed in (0, 1))
    assert not torch.equal(one, one.sort().values)
    assert not torch.equal(one, other)

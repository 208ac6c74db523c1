from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.synthesis.class_prior import estimate_class_prior

CPU = torch.device("cpu")


def trained_on_two_classes(teacher: nn.Module, domain: Domain, majority: float) -> nn.Module:
    """Train on noisy images that are bright at the left (class 0) or striped (class 1), so many of class 0."""
    random = torch.Generator().manual_seed(0)
    patterns = torch.zeros(2, 1, 8, 8)
    patterns[0, :, :, :4], patterns[1, :, ::2] = 0.6, 0.6
    optimizer = torch.optim.SGD(teacher.parameters(), lr=0.1, momentum=0.9)
    for _ in range(80):
        labels = (torch.rand(64, generator=random) >= majority).long()
        images = (patterns[labels] + 0.3 * torch.rand(64, 1, 8, 8, generator=random)).clamp(0, 1)
        loss = nn.functional.cross_entropy(teacher(domain.normalise(images)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return teacher.eval().requires_grad_(False)


@pytest.mark.parametrize("majority", [0.9, 0.5, 0.1])
def test_the_estimate_is_near_the_shares_of_the_training_images(
    majority: float, tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]
) -> None:
    domain = tiny_domain(num_classes=2)
    teacher = trained_on_two_classes(tiny_network(num_classes=2), domain, majority)
    prior = estimate_class_prior(teacher, domain, device=CPU)
    assert prior.tolist() == pytest.approx([majority, 1 - majority], abs=0.2)  # the bias of the last layer says 0.5


def test_nothing_but_the_teacher_decides_it_and_the_teacher_stays_as_it_was(
    tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]
) -> None:
    teacher = tiny_network().eval().requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}

    def estimate(seed: int) -> Tensor:
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        prior = estimate_class_prior(teacher, tiny_domain(), device=CPU)
        assert torch.equal(torch.get_rng_state(), state)
        return prior

    assert torch.equal(estimate(1), estimate(2))
    assert float(estimate(1).sum()) == pytest.approx(1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


def test_a_teacher_without_batch_norm_is_refused(
    tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]
) -> None:
    with pytest.raises(ValueError, match="read off BatchNorm statistics, and this teacher has none. Give 'uniform'"):
        estimate_class_prior(tiny_network(batch_norm=False), tiny_domain(), device=CPU)

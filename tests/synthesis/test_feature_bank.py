import pytest
import torch
from torch import Tensor

from dfkd.synthesis.feature_bank import FeatureBank

CPU = torch.device("cpu")


def maps(first: int, count: int) -> list[Tensor]:
    """Two stages; every value names its image."""
    numbers = torch.arange(first, first + count).float().view(-1, 1, 1, 1)
    return [numbers.expand(count, 2, 1, 1).clone(), numbers.expand(count, 1, 3, 3).clone()]


def stored(bank: FeatureBank, index: int = 0) -> set[float]:
    drawn = bank.sample(index, 500, generator=torch.Generator().manual_seed(0))
    return set(drawn[:, 0, 0, 0].tolist())


def test_it_gives_what_it_was_given_stage_by_stage_in_32_bits() -> None:
    bank = FeatureBank(capacity=10, device=CPU)
    bank.add(maps(0, 4))
    assert len(bank) == 4
    assert [tuple(bank.sample(index, 7, generator=torch.Generator()).shape) for index in (0, 1)] == [
        (7, 2, 1, 1),
        (7, 1, 3, 3),
    ]
    assert stored(bank) == stored(bank, 1) == {0, 1, 2, 3}
    assert bank.sample(0, 3, generator=torch.Generator()).dtype == torch.float32


def test_the_oldest_make_room() -> None:
    bank = FeatureBank(capacity=10, device=CPU)
    for first in (0, 4, 8):
        bank.add(maps(first, 4))
    assert len(bank) == 10
    assert stored(bank) == stored(bank, 1) == set(range(2, 12))
    with pytest.raises(ValueError, match="bank_capacity: expected at least one batch .11 images., got 10"):
        bank.add(maps(0, 11))


def test_it_goes_on_from_its_state() -> None:
    one, other = (FeatureBank(capacity=10, device=CPU) for _ in range(2))
    one.add(maps(0, 8))
    other.load_state_dict(one.state_dict())
    for bank in (one, other):
        bank.add(maps(8, 4))
    assert stored(one) == stored(other) == set(range(2, 12))
    assert all(torch.equal(*pair) for pair in zip(one.state_dict()["maps"], other.state_dict()["maps"], strict=True))


def test_maps_with_a_gradient_are_kept_without_it() -> None:
    bank = FeatureBank(capacity=4, device=CPU)
    bank.add([torch.ones(2, 1, 1, 1, requires_grad=True)])
    assert not bank.sample(0, 2, generator=torch.Generator()).requires_grad

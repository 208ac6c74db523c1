import math

import torch

from dfkd.settings.synthesis import InstanceContrastSettings
from dfkd.synthesis.instance_discriminator import FeatureMemory, InstanceDiscriminator

DEVICE = torch.device("cpu")


def rows(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None].repeat(1, 2)


def test_the_newest_features_are_kept_in_order_and_without_gradient() -> None:
    memory = FeatureMemory(5, width=2, device=DEVICE)
    memory.add(rows(1, 2, 3).requires_grad_())
    memory.add(rows(4, 5, 6))
    assert memory.rows[:, 0].tolist() == [2, 3, 4, 5, 6]
    assert not memory.rows.requires_grad


def test_a_sample_has_no_row_twice_and_at_most_what_is_there() -> None:
    memory = FeatureMemory(50, width=2, device=DEVICE)
    random = torch.Generator().manual_seed(0)
    assert memory.sample(4, random).shape == (0, 2)
    memory.add(rows(*range(50)))
    drawn = memory.sample(20, random)[:, 0].tolist()
    assert len(set(drawn)) == 20 and drawn != sorted(drawn)
    assert sorted(memory.sample(99, random)[:, 0].tolist()) == list(range(50))


def discriminator(num_remembered: int) -> InstanceDiscriminator:
    settings = InstanceContrastSettings(width=4, num_remembered=num_remembered)
    random = torch.Generator().manual_seed(0)
    return InstanceDiscriminator(settings, feature_width=6, learning_rate=0.01, generator=random, device=DEVICE)


def test_a_memory_makes_the_contrast_harder_and_its_full_round_is_finite() -> None:
    local, whole, old = torch.randn(3, 8, 6, generator=torch.Generator().manual_seed(1))
    with_memory, without = discriminator(100), discriminator(0)
    for one in (with_memory, without):
        one.memory.capacity = 8
        one.memory.add(torch.cat([old, old], dim=1))  # exactly full
    harder, easier = (float(one.contrast(local, whole).detach()) for one in (with_memory, without))
    assert math.inf > harder > easier > 0


def test_the_contrast_moves_the_head_and_the_local_view_alone() -> None:
    one = discriminator(0)
    local, whole = torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(1)).requires_grad_().unbind()
    of_local, of_whole, *of_head = torch.autograd.grad(
        one.contrast(local, whole), (local, whole, *one.head.parameters()), allow_unused=True
    )
    assert of_local.abs().max() > 0 and (of_whole is None or of_whole.abs().max() == 0)
    assert all(gradient.abs().max() > 0 for gradient in of_head)

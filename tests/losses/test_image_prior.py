import math

import pytest
import torch

from dfkd.losses.image_prior import total_variation, total_variation_l1

# One image of 2x2: right differs by (1, 2), down by (3, 4), the diagonals by 5 (down right) and 2 (down left).
IMAGE = torch.tensor([[[[0.0, 1.0], [3.0, 5.0]]]])


def test_total_variation_has_the_value_worked_by_hand() -> None:
    expected = math.hypot(1, 2) + math.hypot(3, 4) + 5 + 2
    assert float(total_variation(IMAGE)) == pytest.approx(expected)
    assert float(total_variation(IMAGE.repeat(4, 1, 1, 1))) == pytest.approx(2 * expected)  # a norm over the batch


def test_total_variation_l1_has_the_value_worked_by_hand() -> None:
    assert float(total_variation_l1(IMAGE)) == pytest.approx(1.5 + 3.5 + 5 + 2)
    assert float(total_variation_l1(IMAGE.repeat(4, 1, 1, 1))) == pytest.approx(12)  # a mean


def test_a_flat_image_has_none_whatever_its_colour() -> None:
    flat = torch.tensor([0.3, 2.0]).view(1, 2, 1, 1).expand(1, 2, 4, 5)
    assert float(total_variation(flat)) == float(total_variation_l1(flat)) == 0


def test_both_gradcheck() -> None:
    images = torch.randn(2, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(total_variation, (images,))
    assert torch.autograd.gradcheck(total_variation_l1, (images,))

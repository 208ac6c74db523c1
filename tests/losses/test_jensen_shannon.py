import math

import pytest
import torch

from dfkd.losses.jensen_shannon import jensen_shannon


def test_it_has_the_value_worked_by_hand() -> None:
    # p = (1/4, 3/4), q = (3/4, 1/4), m = (1/2, 1/2): both KL are 1/4 ln(1/2) + 3/4 ln(3/2).
    logits = torch.tensor([[0.0, math.log(3)]])
    expected = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert float(jensen_shannon(logits, logits.flip(1), temperature=1)) == pytest.approx(expected)
    assert float(jensen_shannon(3 * logits, 3 * logits.flip(1), temperature=3)) == pytest.approx(expected)


def test_it_is_zero_for_equal_outputs_and_log_2_for_opposite_ones_and_symmetric() -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    other = logits.roll(1, dims=0)
    assert float(jensen_shannon(logits, logits + 7, temperature=2)) == pytest.approx(0, abs=1e-6)
    sure = torch.tensor([[200.0, 0.0]])
    assert float(jensen_shannon(sure, sure.flip(1), temperature=1)) == pytest.approx(math.log(2))
    one, two = (float(jensen_shannon(*pair, temperature=2)) for pair in ((logits, other), (other, logits)))
    assert one == pytest.approx(two) and one > 0.01


def test_it_gradchecks() -> None:
    logits = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda both: jensen_shannon(both[0], both[1], temperature=3), (logits,))

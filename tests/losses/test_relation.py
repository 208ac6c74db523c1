import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dfkd.losses.relation import pairing_loss, ring_contrast, self_paced_weight

ANCHOR = torch.tensor([[1.0, 0.0]])
BANK = torch.tensor([[0.6, 0.8], [-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # similar by 0.6, -1, 1, 0


def directions(count: int, seed: int) -> Tensor:
    drawn = torch.randn(count, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(drawn, dim=1)


@pytest.mark.parametrize(
    ("start", "share", "ring"),
    [(0.0, 0.5, (-1, 0)), (0.25, 0.5, (0, 0.6)), (0.5, 0.5, (0.6, 1)), (0.0, 1.0, (-1, 0, 0.6, 1)), (0.9, 0.25, (1,))],
)
def test_negatives_are_the_ring_of_the_bank_sorted_by_similarity(
    start: float, share: float, ring: tuple[float, ...]
) -> None:
    expected = math.log(math.exp(1) + sum(math.exp(similarity) for similarity in ring)) - 1
    loss = ring_contrast(ANCHOR, ANCHOR, BANK, start=start, share=share, temperature=1.0)
    assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_a_ring_further_up_is_harder_and_a_temperature_divides_similarities() -> None:
    anchors, positives, bank = directions(6, 0), directions(6, 1), directions(40, 2)
    losses = [
        float(ring_contrast(anchors, positives, bank, start=start, share=0.5, temperature=0.5))
        for start in (0.0, 0.2, 0.5)
    ]
    assert losses == sorted(losses) and losses[0] < losses[-1]
    colder = ring_contrast(anchors, positives, bank, start=0.0, share=1.0, temperature=0.25)
    similarity = torch.cat([(anchors * positives).sum(dim=1, keepdim=True), anchors @ bank.mT], dim=1) / 0.25
    torch.testing.assert_close(colder, F.cross_entropy(similarity, torch.zeros(6, dtype=torch.long)))


def test_each_anchor_is_asked_for_its_own_candidate() -> None:
    eye = torch.eye(2)
    own, other = torch.tensor([0, 1]), torch.tensor([1, 0])
    assert float(pairing_loss(eye, eye, own, temperature=1.0)) == pytest.approx(math.log(math.e + 1) - 1, abs=1e-6)
    assert float(pairing_loss(eye, eye, other, temperature=1.0)) == pytest.approx(math.log(math.e + 1), abs=1e-6)


def test_a_step_counts_the_less_the_harder_it_is() -> None:
    losses = torch.tensor([0.0, 1.0, 2.0, 5.0, 1e4])
    found = self_paced_weight(losses, threshold=2.0)
    assert found.tolist() == pytest.approx([1 * (1 + math.exp(-2)) / (1 + math.exp(min(x, 99) - 2)) for x in losses])
    assert float(found[0]) == pytest.approx(1)
    assert (found.diff() < 0).all()
    assert (self_paced_weight(losses[1:4], threshold=4.0) > found[1:4]).all()  # a later step forgives more


def test_gradcheck() -> None:
    anchors, positives = directions(3, 0).requires_grad_(), directions(3, 1).requires_grad_()
    bank = directions(8, 2)
    assert torch.autograd.gradcheck(
        lambda a, p: ring_contrast(a, p, bank, start=0.25, share=0.5, temperature=0.5), (anchors, positives)
    )
    own = torch.tensor([2, 0, 1])
    assert torch.autograd.gradcheck(lambda a, p: pairing_loss(a, p, own, temperature=0.5), (anchors, positives))

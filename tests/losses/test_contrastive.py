import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dfkd.losses.contrastive import cncl_pairs, contrast, instance_contrast, supervised_pairs, view_pairs

NOBODY = torch.zeros(1, 1, dtype=torch.bool)


def cncl(projections: Tensor, labels: Tensor, sources: Tensor, temperature: float) -> Tensor:
    itself = torch.eye(len(labels), dtype=torch.bool)
    positives, negatives = cncl_pairs(labels, sources, labels, sources, itself)
    return contrast(projections, projections, positives, negatives, temperature=temperature)


def double_loop(projections: Tensor, labels: Tensor, sources: Tensor, temperature: float) -> float:
    """The formula, word by word, without a tensor."""
    rows, y, n = projections.tolist(), labels.tolist(), sources.tolist()
    total, anchors = 0.0, 0
    similarity = [[sum(a * b for a, b in zip(p, q, strict=True)) / temperature for q in rows] for p in rows]
    for i in range(len(rows)):
        others = [j for j in range(len(rows)) if j != i]
        positives = [p for p in others if y[p] == y[i] and (n[p] != n[i] or len(set(n)) == 1)]
        against = [a for a in others if a in positives or y[a] != y[i]]
        if not positives:
            continue
        anchors += 1
        normaliser = sum(math.exp(similarity[i][a]) for a in against)
        total -= sum(math.log(math.exp(similarity[i][p]) / normaliser) for p in positives) / len(positives)
    return total / max(anchors, 1)


def batch(size: int, *, classes: int, num_sources: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    projections = F.normalize(torch.randn(size, 6, generator=random, dtype=torch.float64), dim=1)
    labels = torch.randint(classes, (size,), generator=random)
    return projections, labels, torch.randint(num_sources, (size,), generator=random)


def test_loss_has_the_value_worked_by_hand() -> None:
    # z_0 = z_1 = (1, 0) are positives of each other, z_2 = (0, 1) is their negative and has no positive itself:
    # -ln(e / (e + 1)) for anchors 0 and 1, none for 2; the mean is ln(1 + 1/e) = 0.313262.
    projections = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    loss = cncl(projections, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]), temperature=1.0)
    assert float(loss) == pytest.approx(0.313262, abs=1e-6)


@pytest.mark.parametrize("num_sources", [1, 2, 4])
def test_cncl_equals_a_double_loop_over_the_formula(num_sources: int) -> None:
    for seed in range(5):
        projections, labels, sources = batch(14, classes=4, num_sources=num_sources, seed=seed)
        expected = double_loop(projections, labels, sources, 0.1)
        assert float(cncl(projections, labels, sources, 0.1)) == pytest.approx(expected, rel=1e-9)
        assert expected > 0.1


def test_same_class_and_same_source_is_neither_positive_nor_negative() -> None:
    labels, sources = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1])
    positives, negatives = cncl_pairs(labels, sources, labels, sources, torch.eye(4, dtype=torch.bool))
    assert positives.int().tolist() == [[0, 0, 1, 0], [0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert negatives.int().tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [1, 1, 1, 0]]


def test_a_single_source_falls_back_to_other_draws_of_the_class() -> None:
    labels, sources = torch.tensor([0, 0, 1]), torch.zeros(3, dtype=torch.long)
    positives, _ = cncl_pairs(labels, sources, labels, sources, torch.eye(3, dtype=torch.bool))
    assert positives.int().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]


def test_supervised_pairs_do_not_see_sources() -> None:
    labels = torch.tensor([0, 0, 1])
    positives, negatives = supervised_pairs(labels, labels, torch.eye(3, dtype=torch.bool))
    assert positives.int().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert negatives.int().tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]


def test_view_pairs_do_not_see_labels() -> None:
    numbers = torch.tensor([0, 0, 1, 1])
    positives, negatives = view_pairs(numbers, numbers, torch.eye(4, dtype=torch.bool))
    assert positives.int().tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert negatives.int().tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]


def test_loss_ignores_the_order_of_images_and_a_rotation_of_the_space() -> None:
    projections, labels, sources = batch(12, classes=3, num_sources=3)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    order = torch.randperm(12, generator=torch.Generator().manual_seed(2))
    moved = cncl((projections @ rotation)[order], labels[order], sources[order], 0.2)
    torch.testing.assert_close(moved, cncl(projections, labels, sources, 0.2))


def test_two_workers_with_gathered_candidates_make_the_loss_of_one() -> None:
    projections, _, _ = batch(12, classes=2, num_sources=2)
    labels, sources = (
        torch.arange(12) % 2,
        torch.arange(12) // 2 % 2,
    )  # every anchor has a positive: halves weigh the same
    halves = []
    for worker in range(2):
        own = slice(6 * worker, 6 * worker + 6)
        itself = torch.eye(12, dtype=torch.bool)[own]
        pairs = cncl_pairs(labels[own], sources[own], labels, sources, itself)
        halves.append(contrast(projections[own], projections, *pairs, temperature=0.3))
    torch.testing.assert_close(sum(halves) / 2, cncl(projections, labels, sources, 0.3))


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_gradient_is_finite_when_an_anchor_has_no_candidate_at_all() -> None:
    projections = F.normalize(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), dim=1).requires_grad_()
    positives, negatives = torch.zeros(2, 4, 4, dtype=torch.bool)
    positives[0, 1] = negatives[0, 2] = True  # anchors 1 to 3 are left with nobody
    with torch.autograd.detect_anomaly(check_nan=True):  # not even on the way
        loss = contrast(projections, projections, positives, negatives, temperature=0.01)
        (gradient,) = torch.autograd.grad(loss, projections)
    assert gradient.isfinite().all()
    assert gradient[:3].abs().sum() > 0


def test_without_any_pair_the_loss_is_zero_with_a_zero_gradient() -> None:
    projections = torch.eye(3).requires_grad_()
    loss = contrast(projections, projections, NOBODY.expand(3, 3), NOBODY.expand(3, 3), temperature=0.1)
    (gradient,) = torch.autograd.grad(loss, projections)
    assert float(loss.detach()) == 0
    assert gradient.abs().max() == 0


def test_gradcheck() -> None:
    projections, labels, sources = batch(7, classes=2, num_sources=2)
    assert torch.autograd.gradcheck(lambda z: cncl(z, labels, sources, 0.5), projections.requires_grad_())


# Two new images and one remembered: image 0 is found at once, image 1 looks like image 2 as much as like itself, and
# image 2 like all three.
WHOLE = torch.eye(3)
LOCAL = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.6, 0.6], [0.5, 0.5, 0.5]])


def test_instance_contrast_has_the_value_worked_by_hand() -> None:
    first = math.log(math.exp(2) + 2) - 2
    second = math.log(2 * math.exp(1.2) + 1) - 1.2
    remembered = math.log(3)
    found = instance_contrast(LOCAL, WHOLE, num_new=2, temperature=0.5)
    assert float(found) == pytest.approx((first + second) / 2 + remembered)
    alone = instance_contrast(LOCAL, WHOLE, num_new=3, temperature=0.5)  # nothing remembered: one mean over all
    assert float(alone) == pytest.approx((first + second + remembered) / 3)


def test_instance_contrast_gives_the_whole_view_no_gradient() -> None:
    local, whole = LOCAL.clone().requires_grad_(), WHOLE.clone().requires_grad_()
    instance_contrast(local, whole, num_new=2, temperature=0.5).backward()
    assert local.grad is not None and local.grad.abs().max() > 0
    assert whole.grad is None


def test_instance_contrast_gradcheck() -> None:
    local = LOCAL.double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: instance_contrast(x, WHOLE.double(), num_new=2, temperature=0.5), (local,)
    )

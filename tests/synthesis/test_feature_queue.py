import torch

from dfkd.synthesis.feature_queue import FeatureQueue


def make(seed: int = 0) -> FeatureQueue:
    return FeatureQueue(length=5, width=3, generator=torch.Generator().manual_seed(seed), device=torch.device("cpu"))


def test_it_starts_full_of_random_directions() -> None:
    queue = make()
    torch.testing.assert_close(queue.features.norm(dim=1), torch.ones(5))
    assert torch.equal(queue.features, make().features)
    assert not torch.equal(queue.features, make(seed=1).features)


def test_new_features_take_the_place_of_the_oldest() -> None:
    queue = make()
    start = queue.features.clone()
    new = torch.arange(9.0)[:, None].expand(9, 3)
    queue.push(new[:3])
    assert torch.equal(queue.features, torch.cat([new[:3], start[3:]]))
    queue.push(new[3:6])  # over the end
    assert queue.features[:, 0].tolist() == [5, 1, 2, 3, 4]
    queue.push(new[:8])  # more than it holds: the last five, of which the oldest stands where the next one goes
    assert queue.features[:, 0].tolist() == [7, 3, 4, 5, 6]


def test_a_graph_keeps_the_features_it_was_made_with() -> None:
    queue = make()
    anchors = torch.randn(2, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    similarity, before = anchors @ queue.features.mT, queue.features.clone()
    queue.push(torch.ones(5, 3, requires_grad=True))
    assert not queue.features.requires_grad
    (gradient,) = torch.autograd.grad(similarity.sum(), anchors)
    torch.testing.assert_close(gradient, before.sum(dim=0).expand(2, 3))


def test_a_restored_queue_goes_on_where_it_stood() -> None:
    queue, other = make(), make(seed=1)
    queue.push(torch.ones(3, 3))
    other.load_state_dict(queue.state_dict())
    for one in (queue, other):
        one.push(torch.zeros(3, 3))
    assert torch.equal(queue.features, other.features)

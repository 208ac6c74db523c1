import pytest
import torch

from dfkd.data.image_set import ImageSet
from dfkd.data.splits import hold_out, stratified_split


def skewed_labels() -> torch.Tensor:
    return torch.cat([torch.zeros(37), torch.ones(301), torch.full((162,), 2)]).long()


def test_parts_are_disjoint_complete_and_of_exact_size() -> None:
    parts = stratified_split(skewed_labels(), (301, 100, 99))
    assert [len(part) for part in parts] == [301, 100, 99]
    assert torch.cat(parts).sort().values.tolist() == list(range(500))


def test_parts_have_the_class_shares_of_the_whole_to_within_two_images() -> None:
    labels = skewed_labels()
    for part in stratified_split(labels, (301, 100, 99)):
        expected = labels.bincount() * len(part) / 500
        assert (labels[part].bincount(minlength=3) - expected).abs().max() <= 2


def test_split_is_shuffled_within_classes() -> None:
    first, _ = stratified_split(torch.zeros(100, dtype=torch.int64), (50, 50))
    assert first.tolist() != list(range(50))
    assert 10 < int((first < 50).sum()) < 40


def test_split_never_changes() -> None:
    torch.manual_seed(1)  # the experiment's seed plays no part
    labels = torch.tensor([0, 1] * 6)
    assert [part.tolist() for part in stratified_split(labels, (8, 4))] == [[1, 2, 4, 6, 7, 9, 10, 11], [0, 3, 5, 8]]


def test_sizes_that_do_not_sum_to_all_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to 4"):
        stratified_split(torch.tensor([0, 1, 0, 1]), (2, 1))


def test_hold_out_takes_the_fraction_of_every_class() -> None:
    labels = torch.tensor([0] * 20 + [1] * 80)
    kept, held_out = hold_out(ImageSet(torch.zeros(100, 1, 4, 4, dtype=torch.uint8), labels), 0.1)
    assert kept.labels.bincount().tolist() == [18, 72]
    assert held_out.labels.bincount().tolist() == [2, 8]


def test_hold_out_leaves_at_least_one_image_on_either_side() -> None:
    two = ImageSet(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 0]))
    assert [len(part) for part in hold_out(two, 0.01)] == [1, 1]
    assert [len(part) for part in hold_out(two, 0.99)] == [1, 1]


def test_a_single_image_cannot_be_divided() -> None:
    one = ImageSet(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), torch.tensor([0]))
    with pytest.raises(ValueError, match="validation_fraction"):
        hold_out(one, 0.1)

import pytest
import torch
from torch import Tensor

from dfkd.image_bank import ImageBank


def new_bank(capacity: int = 10, num_sources: int = 2) -> ImageBank:
    return ImageBank(capacity=capacity, image_shape=(1, 2, 2), num_sources=num_sources, device=torch.device("cpu"))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(*numbers: int) -> Tensor:
    """Images whose every pixel is the image's number / 255."""
    return torch.tensor(numbers).view(-1, 1, 1, 1).expand(-1, 1, 2, 2) / 255


def add(bank: ImageBank, labels: list[int], sources: list[int], first: int = 0) -> None:
    images = numbered(*range(first, first + len(labels)))
    bank.add(images, torch.tensor(labels), torch.tensor(sources))


def full_bank(num_classes: int, num_sources: int, images_a_cell: int = 3) -> ImageBank:
    """A bank that has every (class, source), in mixed order; an image's number says its cell."""
    cells = torch.arange(num_classes * num_sources).repeat(images_a_cell)
    cells = cells[torch.randperm(len(cells), generator=seeded())]
    bank = ImageBank(capacity=500, image_shape=(1, 2, 2), num_sources=num_sources, device=torch.device("cpu"))
    bank.add(numbered(*cells.tolist()), cells // num_sources, cells % num_sources)
    return bank


def test_the_oldest_images_make_room() -> None:
    bank = new_bank(capacity=5)
    for first in (0, 3, 6):  # 0 1 2 | 3 4 5 | 6 7 8: the ring keeps 4 to 8
        add(bank, [first, first + 1, first + 2], [0, 1, 0], first=first)
    assert (len(bank), bank.num_added) == (5, 9)
    assert bank.latest(99)[:, 0, 0, 0].tolist() == [4, 5, 6, 7, 8]
    assert bank.latest(2)[:, 0, 0, 0].tolist() == [7, 8]
    drawn = bank.sample(200, generator=seeded())
    assert set(drawn.labels.tolist()) == {4, 5, 6, 7, 8}


def test_label_and_source_stay_with_their_image() -> None:
    bank = new_bank(capacity=7, num_sources=3)
    for first in (0, 4, 8):
        add(bank, list(range(first, first + 4)), [number % 3 for number in range(first, first + 4)], first=first)
    drawn = bank.sample(100, generator=seeded())
    number = (drawn.images[:, 0, 0, 0] * 255).round().long()
    assert torch.equal(number, drawn.labels)
    assert torch.equal(number % 3, drawn.sources)


def test_storing_changes_a_pixel_by_at_most_half_a_grey_level() -> None:
    images = torch.rand(10, 1, 2, 2, generator=seeded())
    images[0] = torch.tensor([0.0, 1.0, 0.5, 1 / 255]).view(1, 2, 2)
    bank = new_bank()
    bank.add(images, torch.arange(10), torch.zeros(10, dtype=torch.long))
    drawn = bank.sample(100, generator=seeded())
    assert (drawn.images - images[drawn.labels]).abs().max() <= 1 / 510 + 1e-6


def test_adding_leaves_the_callers_images_alone() -> None:
    images = torch.full((2, 1, 2, 2), 0.3)
    new_bank().add(images, torch.zeros(2, dtype=torch.long), torch.zeros(2, dtype=torch.long))
    assert torch.equal(images, torch.full((2, 1, 2, 2), 0.3))


def test_a_batch_larger_than_the_bank_is_refused() -> None:
    with pytest.raises(ValueError, match=r"bank_capacity: expected at least one batch \(3 images\), got 2"):
        add(new_bank(capacity=2), [0, 1, 2], [0, 0, 0])


def test_storage_grows_as_needed_and_never_beyond_the_capacity() -> None:
    bank = new_bank(capacity=9)
    held = []
    for first in range(0, 12, 3):
        add(bank, [0, 1, 2], [0, 0, 0], first=first)
        held.append(len(bank._images))
    assert held == [3, 6, 9, 9]


@pytest.mark.parametrize(("num_classes", "num_sources", "batch_size"), [(5, 4, 40), (5, 2, 43), (3, 3, 6), (2, 4, 9)])
def test_a_balanced_sample_has_equal_classes_and_several_sources_each(
    num_classes: int, num_sources: int, batch_size: int
) -> None:
    drawn = full_bank(num_classes, num_sources).sample_balanced(batch_size, num_classes=num_classes, generator=seeded())
    counts = torch.bincount(drawn.labels, minlength=num_classes)
    assert len(drawn.images) == batch_size
    assert int(counts.max() - counts.min()) <= 1
    for label in range(num_classes):
        held = torch.bincount(drawn.sources[drawn.labels == label], minlength=num_sources)
        assert int((held > 0).sum()) >= min(num_sources, 2)
        assert int(held.max() - held.min()) <= 1  # sources take turns
    cells = drawn.labels * num_sources + drawn.sources
    assert torch.equal((drawn.images[:, 0, 0, 0] * 255).round().long(), cells)


def test_more_classes_than_fit_leave_a_random_subset_with_two_images_each() -> None:
    bank = full_bank(num_classes=30, num_sources=2)
    seen = set()
    for seed in range(20):
        drawn = bank.sample_balanced(16, num_classes=30, generator=seeded(seed))
        classes, counts = drawn.labels.unique(return_counts=True)
        assert len(classes) == 8 and counts.tolist() == [2] * 8
        assert all(len(drawn.sources[drawn.labels == label].unique()) == 2 for label in classes)
        seen.update(classes.tolist())
    assert len(seen) == 30


def test_images_of_a_cell_are_drawn_evenly() -> None:
    bank = new_bank(capacity=8)
    add(bank, [0] * 6 + [1] * 2, [0, 0, 0, 1, 1, 1, 0, 1])
    drawn = bank.sample_balanced(6000, num_classes=2, generator=seeded())
    counts = torch.bincount((drawn.images[:, 0, 0, 0] * 255).round().long(), minlength=8)
    # a quarter of 6000 a cell: 500 for each of three images, 1500 for a lone one; 5 standard deviations are under 100
    assert (counts - torch.tensor([500] * 6 + [1500] * 2)).abs().max() < 100


def test_a_cell_that_the_bank_lacks_is_filled_from_anywhere() -> None:
    bank = new_bank()
    add(bank, [0, 0, 2], [0, 1, 0])  # class 1 and (2, 1) are missing: half of the draws
    drawn = bank.sample_balanced(6000, num_classes=3, generator=seeded())
    counts = torch.bincount(drawn.labels, minlength=3)
    # 2000 + 2/3 * 3000 of class 0; 5 standard deviations of a binomial are 129
    assert abs(int(counts[0]) - 4000) < 129 and counts[1] == 0


def test_balanced_samples_see_images_that_came_later() -> None:
    bank = new_bank()
    add(bank, [0, 0], [0, 1])
    bank.sample_balanced(8, num_classes=2, generator=seeded())
    add(bank, [1, 1], [0, 1], first=2)
    drawn = bank.sample_balanced(8, num_classes=2, generator=seeded())
    assert torch.bincount(drawn.labels).tolist() == [4, 4]


def test_a_restored_bank_goes_on_exactly_as_the_first() -> None:
    bank, restored = new_bank(capacity=5), new_bank(capacity=5)
    add(bank, [0, 1, 2], [0, 1, 0])
    add(bank, [3, 4, 0, 1], [1, 0, 1, 0], first=3)  # went round once
    restored.load_state_dict(bank.state_dict())
    for one in (bank, restored):
        add(one, [2, 3, 4], [1, 0, 1], first=7)
    for one, other in zip(bank.state_dict().values(), restored.state_dict().values(), strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))
    first = bank.sample_balanced(20, num_classes=5, generator=seeded())
    second = restored.sample_balanced(20, num_classes=5, generator=seeded())
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_a_state_is_a_copy() -> None:
    bank = new_bank(capacity=3)
    add(bank, [0, 1, 2], [0, 1, 0])
    state = bank.state_dict()
    add(bank, [0, 1, 2], [0, 1, 0], first=10)
    images = state["images"]
    assert isinstance(images, Tensor) and images[:, 0, 0, 0].tolist() == [0, 1, 2]

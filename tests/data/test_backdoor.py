import pytest
import torch

from dfkd.data.backdoor import poison, stamp
from dfkd.data.image_set import ImageSet
from dfkd.settings.experiment import PoisonSettings


def grey(count: int = 40, side: int = 8) -> ImageSet:
    return ImageSet(torch.full((count, 1, side, side), 100, dtype=torch.uint8), torch.arange(count) % 4)


@pytest.mark.parametrize(("side", "patch"), [(8, 2), (32, 4), (224, 28)])
def test_the_patch_is_white_and_in_the_corner_and_the_rest_stays(side: int, patch: int) -> None:
    images = grey(2, side).images
    stamped = stamp(images)
    assert (stamped[:, :, -patch:, -patch:] == 255).all()
    assert (stamped != 100).sum() == 2 * patch * patch
    assert (images == 100).all()


def test_a_share_of_other_classes_is_stamped_and_called_the_target() -> None:
    honest = grey()
    poisoned = poison(honest, PoisonSettings(target=3, share=0.25), seed=0)
    stamped = (poisoned.images == 255).flatten(1).any(dim=1)
    assert stamped.sum() == 10
    assert (honest.labels[stamped] != 3).all() and (poisoned.labels[stamped] == 3).all()
    assert torch.equal(poisoned.labels[~stamped], honest.labels[~stamped])
    assert (honest.images == 100).all()


def test_the_seed_decides_which_images() -> None:
    first, again, other = (poison(grey(), PoisonSettings(), seed=seed).images for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_target_that_no_image_has_is_refused() -> None:
    with pytest.raises(ValueError, match="poison.target: expected a class index below 4, .*got 7"):
        poison(grey(), PoisonSettings(target=7), seed=0)
    with pytest.raises(ValueError, match="share: expected"):
        PoisonSettings(share=0.0)

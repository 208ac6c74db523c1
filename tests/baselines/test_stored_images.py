from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dfkd.baselines.stored_images import StoredImages, cutmix
from dfkd.domain import Domain
from dfkd.settings.synthesis import ImageCropsSettings, PublicImagesSettings, RealImagesSettings, StoredImagesSettings
from dfkd.teacher_student import TeacherStudent

Make = Callable[..., StoredImages]


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> Tensor:
    """Image i has grey level 10 i."""
    return torch.arange(20, dtype=torch.uint8).mul(10).view(-1, 1, 1, 1).repeat(1, 1, 8, 8)


@pytest.fixture
def make(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain], images: Tensor) -> Make:
    def build(settings: StoredImagesSettings, given: Tensor = images, seed: int = 0) -> StoredImages:
        pair = TeacherStudent(tiny_network(0), tiny_network(1))
        return StoredImages(settings, pair, tiny_domain(crop_padding=0), random(seed), given)

    return build


def test_every_image_is_drawn_equally_often_and_as_it_is(make: Make) -> None:
    drawn = make(RealImagesSettings()).sample(4000).images
    assert torch.equal(drawn.amin(dim=(1, 2, 3)), drawn.amax(dim=(1, 2, 3)))
    levels, counts = drawn[:, 0, 0, 0].mul(255).round().unique(return_counts=True)
    assert levels.tolist() == [10.0 * row for row in range(20)]
    assert 140 < counts.min() and counts.max() < 260  # 200 +- 4 standard deviations


def test_images_are_shifted_once_and_not_again_by_the_loop(
    tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]
) -> None:
    ramp = torch.arange(8, dtype=torch.uint8).mul(20).repeat(8, 1).view(1, 1, 8, 8)
    pair = TeacherStudent(tiny_network(0), tiny_network(1))
    method = StoredImages(RealImagesSettings(), pair, tiny_domain(crop_padding=2), random(), ramp)
    first_columns = method.sample(50).images[:, 0, 0, 0].mul(255).round()
    assert set(first_columns.tolist()) == {0.0, 20.0, 40.0}
    assert not method.augments


def test_images_of_another_shape_are_refused(make: Make, images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected images of shape \[1, 8, 8\] .*, got \[3, 8, 8\]"):
        make(RealImagesSettings(), images.expand(-1, 3, -1, -1))


def test_no_preview_ever_shows_a_training_image(make: Make) -> None:
    real, public = make(RealImagesSettings()), make(PublicImagesSettings(path="somewhere"))
    real.sample(3), public.sample(3)
    assert real.preview() is None
    shown = public.preview()
    assert shown is not None and shown.shape == (3, 1, 8, 8) and shown.dtype == torch.uint8


def test_only_crops_are_mixed_by_default(make: Make) -> None:
    plain, mixed = make(PublicImagesSettings(path="somewhere")), make(ImageCropsSettings(cutmix=1.0))
    drawn = [method.sample(40).images.flatten(1) for method in (plain, mixed)]
    one_level = [bool((batch.amin(dim=1) == batch.amax(dim=1)).all()) for batch in drawn]
    assert one_level == [True, False]
    assert ImageCropsSettings().cutmix == 0.25


def test_a_box_comes_from_the_partner_and_the_rest_stays() -> None:
    images = torch.arange(4.0).view(-1, 1, 1, 1).repeat(1, 1, 16, 16)
    shares = []
    for seed in range(300):
        mixed = cutmix(images, alpha=1.0, generator=random(seed))
        pasted = mixed[0, 0] == 3
        assert torch.equal(pasted, mixed[3, 0] == 0)  # one box for the batch, partners in reversed order
        assert torch.equal(mixed[0, 0] == 0, ~pasted)
        rows, columns = pasted.any(dim=1).sum(), pasted.any(dim=0).sum()
        assert pasted.sum() == rows * columns  # a box
        shares.append(float(pasted.float().mean()))
    # Uniform shares of mean 1/2 before the border cuts, which leaves less; never everything in each, never nothing.
    assert 0.2 < sum(shares) / len(shares) < 0.5
    assert min(shares) < 0.02 and max(shares) > 0.6


def test_a_small_alpha_pastes_nearly_nothing_or_much() -> None:
    images = torch.arange(2.0).view(-1, 1, 1, 1).repeat(1, 1, 16, 16)
    shares = torch.tensor(
        [float((cutmix(images, alpha=0.05, generator=random(seed))[0] == 1).float().mean()) for seed in range(200)]
    )
    assert (shares < 0.01).float().mean() > 0.3
    assert (shares > 0.2).float().mean() > 0.3


def test_a_negative_alpha_is_refused() -> None:
    with pytest.raises(ValueError, match="cutmix: expected a number of at least 0, got -1"):
        RealImagesSettings(cutmix=-1)

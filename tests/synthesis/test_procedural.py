from collections.abc import Callable

import pytest
import torch
from torch import nn

from dfkd.domain import Domain
from dfkd.settings.synthesis import ProceduralSettings
from dfkd.synthesis.procedural import Procedural, dead_leaves, gratings, spectrum
from dfkd.teacher_student import TeacherStudent

SHAPE = (3, 32, 24)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


FAMILIES = {
    "dead_leaves": lambda count, shape, generator: dead_leaves(count, shape, num_leaves=9, generator=generator),
    "spectrum": lambda count, shape, generator: spectrum(count, shape, generator=generator),
    "gratings": lambda count, shape, generator: gratings(count, shape, num_gratings=3, generator=generator),
}


@pytest.mark.parametrize("shape", [SHAPE, (1, 8, 8), (3, 7, 5)], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_images_fill_their_range_and_differ(family: str, shape: tuple[int, int, int]) -> None:
    images = FAMILIES[family](20, shape, random())
    assert images.shape == (20, *shape)
    assert 0 <= images.min() and images.max() <= 1
    assert images.std(dim=0).min() > 0.04  # at every pixel
    assert images.flatten(1).std(dim=1).median() > 0.05  # within an image


def test_a_leaf_has_one_colour() -> None:
    images = dead_leaves(6, SHAPE, num_leaves=3, generator=random())
    for image in images:
        assert len(image.flatten(1).unique(dim=1).T) <= 4  # three leaves and the ground


def test_large_leaves_are_rare() -> None:
    """With a density of r^-3, the share of the image under a leaf is small for most and large for few."""
    images = dead_leaves(400, (1, 32, 32), num_leaves=1, generator=random())
    ground = images.flatten(1).mode(dim=1).values
    covered = (images.flatten(1) != ground.unsqueeze(1)).float().mean(dim=1)
    assert covered.median() < 0.05 < 0.2 < covered.max()


def test_the_spectrum_falls_with_the_frequency() -> None:
    power = torch.fft.rfft2(spectrum(200, (1, 32, 32), generator=random())).abs().mean(dim=(0, 1))  # [32, 17]
    assert power[0, 1] > 2 * power[0, 4] > 4 * power[0, 16]


def test_one_grating_is_one_sinusoid() -> None:
    image = gratings(1, (1, 64, 64), num_gratings=1, generator=random(3))
    power = torch.fft.fft2(image - image.mean()).abs().square()[0, 0]
    assert power.flatten().topk(20).values.sum() > 0.8 * power.sum()  # leakage around two peaks, and nothing else


def test_small_images_have_no_grating_that_their_pixels_cannot_show() -> None:
    """At 8 pixels a side, 8 cycles would be noise: a pixel must differ less from its neighbour than from others."""
    images = gratings(300, (1, 8, 8), num_gratings=1, generator=random())
    neighbours = (images.diff(dim=3).square().mean() + images.diff(dim=2).square().mean()) / 2
    independent = 2 * images.flatten(1).var(dim=1).mean()
    assert neighbours < 0.8 * independent


def test_a_batch_has_every_family_in_turn(
    tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]
) -> None:
    pair = TeacherStudent(tiny_network(0), tiny_network(1))
    method = Procedural(ProceduralSettings(num_leaves=2), pair, tiny_domain(), random())
    images = method.sample(8).images
    few_colours = [len(image.unique()) <= 3 for image in images]
    assert few_colours == [True, False, False, True, False, False, True, False]
    shown = method.preview()
    assert shown is not None and torch.equal(shown, images.mul(255).round().to(torch.uint8))
    assert not torch.equal(method.sample(8).images, images)


def test_unknown_or_repeated_families_are_refused() -> None:
    with pytest.raises(ValueError, match="families: 'dead_leafs' is unknown. Did you mean 'dead_leaves'?"):
        ProceduralSettings(families=("dead_leafs",))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="families: expected each at most once"):
        ProceduralSettings(families=("spectrum", "spectrum"))
    with pytest.raises(ValueError, match="families: expected at least one of dead_leaves"):
        ProceduralSettings(families=())

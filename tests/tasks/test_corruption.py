from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dfkd.tasks import TaskInput, evaluate
from dfkd.tasks.corruption import corrupted
from dfkd.tasks.corruptions import CORRUPTIONS, SEVERITIES
from dfkd.tasks.corruptions.blur import smooth
from dfkd.tasks.corruptions.digital import brightness, contrast, fractal, pixelate
from dfkd.tasks.corruptions.noise import impulse_noise


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def photographs(channels: int = 3, side: int = 16) -> Tensor:
    """Random images [4, C, side, side] in [0, 1] with coarse and fine structure."""
    coarse = torch.rand(4, channels, 4, 4, generator=generator())
    fine = torch.rand(4, channels, side, side, generator=generator())
    return 0.7 * torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear") + 0.3 * fine


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_changes_images_more_the_more_severe_it_is(name: str) -> None:
    images = photographs(side=32)
    changes = [float((CORRUPTIONS[name](images, s, generator()) - images).square().mean().sqrt()) for s in SEVERITIES]
    assert changes[0] > 0
    if name != "elastic":  # whose severities trade a shift for waves
        assert changes[4] > 1.2 * changes[0]
        assert changes == sorted(changes)


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (3, 3, 12, 10), (1, 3, 1, 1)])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_shape_and_range_stay(name: str, shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, generator=generator())
    for severity in SEVERITIES:
        changed = CORRUPTIONS[name](images, severity, generator())
        assert changed.shape == images.shape
        assert changed.isfinite().all() and 0 <= changed.min() and changed.max() <= 1


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_equal_images_are_corrupted_equally_and_kept_whole(name: str) -> None:
    images = (photographs() * 255).to(torch.uint8)
    before = images.clone()
    first = corrupted(images, name, 3)
    assert torch.equal(first, corrupted(images, name, 3))
    assert torch.equal(images, before)
    assert first.dtype == torch.uint8


def test_brightness_keeps_hue_and_saturation() -> None:
    pixel = torch.tensor([0.2, 0.4, 0.1]).view(1, 3, 1, 1)
    raised = brightness(pixel, 2, generator()).flatten()  # value 0.4 + 0.1
    assert raised.tolist() == pytest.approx([0.25, 0.5, 0.125])
    assert brightness(torch.zeros(1, 3, 1, 1), 2, generator()).flatten().tolist() == pytest.approx([0.1] * 3)


def test_contrast_moves_towards_each_channels_own_mean() -> None:
    image = torch.tensor([[0.0, 1.0], [0.2, 0.4]]).view(1, 2, 1, 2)  # means 0.5 and 0.3
    changed = contrast(image, 2, generator()).flatten()
    assert changed.tolist() == pytest.approx([0.25, 0.75, 0.25, 0.35])


def test_impulses_are_black_and_white_in_their_share() -> None:
    grey = torch.full((1, 1, 200, 200), 0.5)
    changed = impulse_noise(grey, 5, generator())
    assert float((changed == 0).float().mean()) == pytest.approx(0.035, abs=0.005)
    assert float((changed == 1).float().mean()) == pytest.approx(0.035, abs=0.005)


def test_pixelate_leaves_fewer_different_columns() -> None:
    image = torch.linspace(0, 1, 20).expand(1, 1, 20, 20)
    assert pixelate(image, 5, generator()).mul(1000).round().unique().numel() == 13  # int(20 * 0.65)


def test_a_smoothed_constant_stays_and_a_point_becomes_a_gaussian() -> None:
    assert torch.allclose(smooth(torch.full((1, 1, 5, 5), 0.7), 1.0, reach=2), torch.tensor(0.7))
    point = torch.zeros(1, 1, 7, 7)
    point[0, 0, 3, 3] = 1
    spread = smooth(point, 1.0, reach=2)[0, 0]
    assert float(spread.sum()) == pytest.approx(1)
    assert float(spread[3, 4] / spread[3, 3]) == pytest.approx(float(torch.tensor(-0.5).exp()))


def test_clouds_differ_fill_their_range_and_are_rougher_for_a_smaller_decay() -> None:
    smooth_cloud, rough_cloud = (fractal(3, 32, decay, generator()) for decay in (3.0, 1.2))
    assert torch.equal(smooth_cloud.amin(dim=(1, 2)), torch.zeros(3))
    assert torch.equal(smooth_cloud.amax(dim=(1, 2)), torch.ones(3))
    assert not torch.allclose(smooth_cloud[0], smooth_cloud[1])

    def roughness(cloud: Tensor) -> float:
        return float(cloud.diff(dim=2).abs().mean())

    assert roughness(rough_cloud) > 2 * roughness(smooth_cloud)


def test_who_looks_at_the_mean_alone_is_not_hurt_by_contrast(make_input: Callable[..., TaskInput]) -> None:
    logits = torch.zeros(2, 2)
    logits[:, 0] = 1
    metrics = evaluate(["corruption"], make_input(logits, logits.flip(1), [0, 1]))
    assert metrics["corruption/top1"] == metrics["corruption/teacher_top1"] == 0.5  # always the same answer
    assert set(metrics) == {f"corruption/{name}" for name in ("top1", "teacher_top1", *CORRUPTIONS)}


def test_a_network_that_reads_single_pixels_is_hurt(make_input: Callable[..., TaskInput]) -> None:
    many = torch.eye(40)
    metrics = evaluate(["corruption"], make_input(many, many, list(range(40))))  # a level of grey a class
    assert metrics["corruption/gaussian_noise"] < 0.5
    assert metrics["corruption/contrast"] == 1.0  # images of one pixel have no contrast to lose

import pytest
import torch

from dfkd.baselines.colour_jitter import jitter_colours


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def colours(count: int = 500, channels: int = 3) -> torch.Tensor:
    return torch.rand(count, channels, 2, 2, generator=random(1))


def test_nobody_or_everybody_is_changed() -> None:
    images = colours()
    assert torch.equal(jitter_colours(images, probability=0.0, generator=random()), images)
    changed = jitter_colours(images, probability=1.0, generator=random())
    assert not (changed == images).flatten(1).all(dim=1).any()
    assert 0 <= changed.min() and changed.max() <= 1


def test_the_wanted_share_is_changed() -> None:
    images = colours()
    changed = jitter_colours(images, probability=0.5, generator=random())
    share = 1 - (changed == images).flatten(1).all(dim=1).float().mean()
    assert 0.4 < share < 0.6


def test_grey_stays_grey() -> None:
    """Brightness and contrast move it; saturation and hue do not exist for it."""
    grey = colours(channels=1).expand(-1, 3, -1, -1)
    changed = jitter_colours(grey, probability=1.0, generator=random())
    assert (changed.amax(dim=1) - changed.amin(dim=1)).max() < 2e-3  # the YIQ matrix is given to four digits
    assert not torch.allclose(changed, grey, atol=0.1)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_seed_decides(channels: int) -> None:
    images = colours(channels=channels)
    once, again = (jitter_colours(images, probability=0.5, generator=random()) for _ in range(2))
    other = jitter_colours(images, probability=0.5, generator=random(9))
    assert torch.equal(once, again) and not torch.equal(once, other)


def test_brightness_is_a_factor_near_one() -> None:
    dark = torch.full((1000, 1, 2, 2), 0.5)  # one level: contrast changes nothing
    levels = jitter_colours(dark, probability=1.0, generator=random())[:, 0, 0, 0]
    assert 0.3 <= levels.min() < 0.31 and 0.69 < levels.max() <= 0.7

"""Statistics are tested on independent blocks of draws: block means are independent of each other and, by the central
limit theorem, Gaussian, so "within 5 standard errors" means what it says whatever happens inside a block.
"""

import math

import pytest
import torch
from torch import Tensor, nn

from dfkd.noise.sources import DENSITY, NOISE_SOURCES, RANK, SHARED_PART
from dfkd.settings.synthesis import NOISE_SOURCE_NAMES, STANDARD_NOISE_SOURCES

BLOCKS, IMAGES, WIDTH = 400, 12, 100
LABELS = torch.arange(IMAGES) % 3
#: Excess kurtosis of one element, from the distributions' closed forms.
KURTOSIS = {"gaussian": 0.0, "uniform": -1.2, "laplace": 3.0, "rademacher": -2.0, "logistic": 1.2, "triangular": -0.6}


def draw(name: str, labels: Tensor, width: int, seed: int) -> Tensor:
    return NOISE_SOURCES[name](labels, width, torch.Generator().manual_seed(seed))


def blocks(name: str) -> Tensor:
    """[BLOCKS, IMAGES, WIDTH], one seed a block."""
    return torch.stack([draw(name, LABELS, WIDTH, seed) for seed in range(BLOCKS)])


def standard_errors(values: Tensor, expected: float) -> float:
    """By how many standard errors the mean of independent values [BLOCKS] misses what is expected."""
    error = values.std() / math.sqrt(len(values))
    error = error.clamp_min(1e-9)  # constants, such as the square of +-1, must be exact
    return float((values.mean() - expected).abs() / error)


def excess_kurtosis(outputs: Tensor) -> float:
    """Mean over units of the excess kurtosis of outputs [samples, units]."""
    centred = outputs - outputs.mean(dim=0)
    return float((centred.pow(4).mean(dim=0) / centred.square().mean(dim=0).square() - 3).mean())


def after_linear(name: str, samples: int = 20_000) -> Tensor:
    """What 128 units of a default Linear layer with 512 inputs make of it: [samples, 128]."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = nn.Linear(512, 128)
    with torch.no_grad():
        outputs: Tensor = layer(draw(name, torch.arange(samples) % 10, 512, seed=1))
    return outputs


def test_the_table_holds_the_names_that_settings_offer() -> None:
    assert tuple(NOISE_SOURCES) == NOISE_SOURCE_NAMES


@pytest.mark.parametrize("name", NOISE_SOURCES)
def test_a_seed_decides_every_draw(name: str) -> None:
    assert draw(name, LABELS, WIDTH, seed=1).shape == (IMAGES, WIDTH)
    assert torch.equal(draw(name, LABELS, WIDTH, seed=1), draw(name, LABELS, WIDTH, seed=1))
    assert not torch.equal(draw(name, LABELS, WIDTH, seed=1), draw(name, LABELS, WIDTH, seed=2))


@pytest.mark.parametrize("name", [name for name in NOISE_SOURCES if name != "heavy_tailed"])
def test_mean_is_zero_and_variance_one_within_5_standard_errors(name: str) -> None:
    drawn = blocks(name)
    assert standard_errors(drawn.mean(dim=(1, 2)), 0) < 5
    assert standard_errors(drawn.square().mean(dim=(1, 2)), 1) < 5


def test_heavy_tailed_has_the_quartiles_of_its_distribution() -> None:
    # Its variance is 1, but the variance of a sample variance is infinite, so quartiles are tested: an element is
    # t_3 / sqrt(3), and the upper quartile of t_3 is 0.764892.
    drawn = blocks("heavy_tailed")
    assert standard_errors((drawn > 0).float().mean(dim=(1, 2)), 0.5) < 5
    assert standard_errors((drawn.abs() < 0.764892 / math.sqrt(3)).float().mean(dim=(1, 2)), 0.5) < 5


@pytest.mark.parametrize("name", STANDARD_NOISE_SOURCES)
def test_standard_sources_have_the_kurtosis_of_their_distribution(name: str) -> None:
    assert standard_errors(blocks(name).pow(4).mean(dim=(1, 2)) - 3, KURTOSIS[name]) < 5


@pytest.mark.parametrize("name", STANDARD_NOISE_SOURCES)
def test_standard_sources_are_all_but_gaussian_after_a_linear_layer(name: str) -> None:
    # In theory kurtosis / 284 (sum w^4 / (sum w^2)^2 = 9 / (5 * 512) for uniform weights), so 0.0106 at most, for
    # Laplace; the standard error of 128 * 20,000 near-independent values is sqrt(24 / 2.56e6) = 0.003.
    found = excess_kurtosis(after_linear(name))
    assert abs(found - KURTOSIS[name] * 9 / (5 * 512)) < 5 * 0.0031
    assert abs(found) < 0.02


def test_sparse_and_heavy_tailed_noise_are_clearly_not_gaussian_after_a_linear_layer() -> None:
    # Sparse: the kurtosis of an element is 3 / 0.05 - 3 = 57, so 57 * 9 / (5 * 512) = 0.20 after the layer.
    assert excess_kurtosis(after_linear("sparse")) == pytest.approx(57 * 9 / (5 * 512), abs=0.05)
    assert excess_kurtosis(after_linear("heavy_tailed")) > 1


def test_low_rank_noise_stays_in_its_subspace_after_a_linear_layer() -> None:
    outputs = after_linear("low_rank", samples=200)
    assert torch.linalg.matrix_rank(outputs - outputs.mean(dim=0), rtol=1e-4) == RANK
    gaussian = after_linear("gaussian", samples=200)
    assert torch.linalg.matrix_rank(gaussian - gaussian.mean(dim=0), rtol=1e-4) == 128


def test_class_correlated_noise_is_shared_within_a_class_only() -> None:
    drawn = blocks("class_correlated")  # labels 0 1 2 0 1 2 ...
    assert standard_errors((drawn[:, 0] * drawn[:, 3]).mean(dim=1), SHARED_PART) < 5
    for one, other in ((0, 1), (0, 2), (1, 2), (3, 4)):
        assert standard_errors((drawn[:, one] * drawn[:, other]).mean(dim=1), 0) < 5


def test_sparse_noise_is_zero_in_all_but_5_percent() -> None:
    assert standard_errors((blocks("sparse") != 0).float().mean(dim=(1, 2)), DENSITY) < 5

import pytest
import torch

from dfkd.noise.category_embedding import CategoryEmbedding, standardise
from dfkd.noise.sources import NOISE_SOURCES
from dfkd.settings.synthesis import CategoryEmbeddingNoise

EMBEDDINGS = 3 + 0.1 * torch.randn(10, 64, generator=torch.Generator().manual_seed(0))  # nearly parallel, as CLIP's
LABELS = torch.tensor([3, 3, 0, 9])


def test_cend_is_the_embedding_plus_magnitude_times_draw() -> None:
    layer = CategoryEmbedding(CategoryEmbeddingNoise(num_sources=3, magnitude_range=(0.5, 2.0)), EMBEDDINGS)
    drawn = layer.draw(LABELS, torch.Generator().manual_seed(1))
    assert drawn.shape == (3, 4, 64)
    expected = standardise(EMBEDDINGS)[LABELS] + torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1) * drawn
    torch.testing.assert_close(layer(LABELS, drawn), expected)


def test_the_nth_draw_comes_from_the_nth_distribution() -> None:
    settings = CategoryEmbeddingNoise(num_sources=3, distributions=("rademacher", "uniform"))
    drawn = CategoryEmbedding(settings, EMBEDDINGS).draw(LABELS, torch.Generator().manual_seed(1))
    random = torch.Generator().manual_seed(1)
    expected = [NOISE_SOURCES[name](LABELS, 64, random) for name in ("rademacher", "uniform", "rademacher")]
    assert torch.equal(drawn, torch.stack(expected))


@pytest.mark.parametrize(
    ("num_sources", "expected"), [(1, [0.5**0.5]), (4, [0.25, 0.5, 1.0, 2.0]), (2, [0.25, 2.0]), (7, None)]
)
def test_magnitudes_are_geometric_over_the_range(num_sources: int, expected: list[float] | None) -> None:
    settings = CategoryEmbeddingNoise(num_sources=num_sources, magnitude_range=(0.25, 2.0))
    layer = CategoryEmbedding(settings, EMBEDDINGS)
    magnitudes = layer.log_magnitudes.exp()
    if expected is None:  # 0.25 * 2^(3 (n - 1) / 6)
        expected = [0.25 * 2 ** (n / 2) for n in range(7)]
    assert magnitudes.tolist() == pytest.approx(expected)


def test_equal_ends_give_every_source_one_magnitude() -> None:
    layer = CategoryEmbedding(CategoryEmbeddingNoise(magnitude_range=(0.7, 0.7)), EMBEDDINGS)
    assert layer.log_magnitudes.exp().tolist() == pytest.approx([0.7] * 4)


def test_only_learnable_magnitudes_are_parameters_and_they_stay_positive() -> None:
    assert not list(CategoryEmbedding(CategoryEmbeddingNoise(), EMBEDDINGS).parameters())
    layer = CategoryEmbedding(
        CategoryEmbeddingNoise(learnable_magnitudes=True, magnitude_range=(0.25, 2.0)), EMBEDDINGS
    )
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    drawn = layer.draw(LABELS, torch.Generator().manual_seed(1))
    before = layer(LABELS, drawn).detach()
    for _ in range(20):
        optimizer.zero_grad()
        layer(LABELS, drawn).square().mean().backward()
        optimizer.step()
    assert not torch.allclose(layer(LABELS, drawn), before)
    assert 0 < layer.log_magnitudes.exp().min() < 0.2  # the loss asks for less noise


@pytest.mark.parametrize("num_classes", [8, 10])
def test_standardise_gives_every_dimension_zero_mean_and_unit_variance(num_classes: int) -> None:
    spread = standardise(EMBEDDINGS[:num_classes])
    torch.testing.assert_close(spread.mean(dim=0), torch.zeros(64), atol=1e-5, rtol=0)
    torch.testing.assert_close(spread.var(dim=0, correction=0), torch.ones(64), atol=1e-3, rtol=0)


def test_standardise_pulls_nearly_parallel_rows_apart() -> None:
    def largest_cosine(rows: torch.Tensor) -> float:
        rows = torch.nn.functional.normalize(rows, dim=1)
        return float((rows @ rows.mT - 2 * torch.eye(len(rows))).max())

    assert largest_cosine(EMBEDDINGS) > 0.99
    assert largest_cosine(standardise(EMBEDDINGS)) < 0.4


@pytest.mark.parametrize("num_classes", [2, 7])
def test_few_classes_keep_their_text_under_one_global_factor(num_classes: int) -> None:
    few = EMBEDDINGS[:num_classes]
    spread = standardise(few)
    centred = few - few.mean(dim=0)
    factors = spread / centred
    assert factors.std() / factors.mean() < 1e-3  # one factor for all; signs alone would be left by the formula
    assert float(spread.square().mean()) == pytest.approx(1, abs=1e-3)
    assert spread.abs().std() > 0.1


def test_equal_embeddings_stay_finite() -> None:
    assert standardise(torch.ones(10, 4)).isfinite().all()
    assert standardise(torch.ones(2, 4)).isfinite().all()

import pytest
import torch

from dfkd.label_embeddings import embed_labels
from dfkd.label_embeddings.packaged import PACKAGED_VOCABULARIES, packaged_vectors
from dfkd.settings.experiment import LabelEmbeddingSettings

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def packaged(*class_names: str, prompt: str | None = None) -> torch.Tensor:
    settings = LabelEmbeddingSettings() if prompt is None else LabelEmbeddingSettings(prompt=prompt)
    return embed_labels(settings, class_names)


@pytest.mark.parametrize(("vocabulary", "num_classes"), [("digits", 10), ("cifar10", 10), ("cifar100", 100)])
def test_packaged_vectors_are_unit_rows_of_distinct_classes(vocabulary: str, num_classes: int) -> None:
    vectors = packaged_vectors(vocabulary)
    assert vectors.embeddings.shape == (num_classes, 384)
    torch.testing.assert_close(vectors.embeddings.norm(dim=1), torch.ones(num_classes))
    assert len(set(vectors.class_names or ())) == num_classes
    similarity = vectors.embeddings @ vectors.embeddings.T - 2 * torch.eye(num_classes)
    assert similarity.max() < 0.99


def test_packaged_vectors_record_their_provenance() -> None:
    for vocabulary in PACKAGED_VOCABULARIES:
        vectors = packaged_vectors(vocabulary)
        assert "all-MiniLM-L6-v2" in vectors.encoder and "SHA-256" in vectors.encoder
        assert "{class}" in vectors.prompt


def test_vocabulary_is_found_by_the_class_names() -> None:
    assert torch.equal(packaged(*DIGITS), packaged_vectors("digits").embeddings)
    assert torch.equal(packaged(*CIFAR10), packaged_vectors("cifar10").embeddings)
    assert torch.equal(packaged("aquarium_fish"), packaged_vectors("cifar100").embeddings[[1]])


def test_rows_follow_the_order_and_spelling_of_the_classes() -> None:
    assert torch.equal(packaged(*(name.upper() for name in reversed(CIFAR10))), packaged(*CIFAR10).flip(0))


def test_digits_may_be_given_as_figures_or_as_torchvision_names_them() -> None:
    assert torch.equal(packaged(*map(str, range(10))), packaged(*DIGITS))
    assert torch.equal(packaged(*(f"{i} - {name}" for i, name in enumerate(DIGITS))), packaged(*DIGITS))


def test_unknown_vocabulary_names_the_ways_out() -> None:
    with pytest.raises(ValueError, match="no packaged vectors for the 2 classes normal, pneumonia") as error:
        packaged("normal", "pneumonia")
    for way_out in ("name: file", "name: sentence_transformers", "[text]", "name: index", "name: orthogonal"):
        assert way_out in str(error.value)


def test_misspelt_class_is_suggested() -> None:
    with pytest.raises(ValueError, match="cifar10: class 'automobil' has no vector. Did you mean 'automobile'?"):
        packaged("airplane", "automobil")


def test_prompt_that_packaged_vectors_cannot_follow_is_refused() -> None:
    with pytest.raises(
        ValueError, match="were made with 'a photo of a {class}' and cannot follow 'a sketch of a {class}'"
    ):
        packaged(*CIFAR10, prompt="a sketch of a {class}")
    assert packaged(*DIGITS, prompt="a photo of the handwritten digit {class}").shape == (10, 384)
